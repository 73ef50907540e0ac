package group

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/metadata"
)

// logged is an entry of a partition's log: a record, of a transaction if producer is not negative, or a marker.
type logged struct {
	key, value     []byte
	producer       int64
	marker, commit bool
}

// offsetWalk drives the offsets of a machine beside a map that says what must be committed. Groups are simple ones.
type offsetWalk struct {
	t       *testing.T
	rng     *rand.Rand
	m       *Machine
	im      *metadata.Image
	now     time.Time
	log     []logged
	model   map[string]string           // "group topic partition" → offset, leader epoch and metadata
	written map[string]int              // the same → place of its record in the log
	times   map[string]time.Time        // the same → when it was committed
	open    map[int64]map[string]string // by producer, what is pending
	places  map[int64]map[string]int
}

const walkRetention = time.Hour

func newOffsetWalk(t *testing.T, seed uint64) *offsetWalk {
	w := &offsetWalk{t: t, rng: rand.New(rand.NewPCG(seed, 4)), im: &metadata.Image{}, now: time.UnixMilli(1_700_000_000_000),
		model: map[string]string{}, written: map[string]int{}, times: map[string]time.Time{},
		open: map[int64]map[string]string{}, places: map[int64]map[string]int{}}
	for i := range 3 {
		w.topic(fmt.Sprint("t", i))
	}
	w.load()
	return w
}

// topic makes a topic, with a new id.
func (w *offsetWalk) topic(name string) {
	w.image(&metadata.TopicRecord{Name: name, ID: metadata.NewUUID()})
}

func (w *offsetWalk) image(r metadata.Record) {
	im, err := w.im.Apply(w.im.Index+1, r)
	if err != nil {
		w.t.Fatal(err)
	}
	w.im = im
}

// load makes a machine from the log.
func (w *offsetWalk) load() {
	config := &Config{OffsetMetadataMaxBytes: 100, OffsetsRetention: walkRetention, OffsetsRetentionCheck: time.Minute}
	w.m = NewMachine(func() *Config { return config }, func() *metadata.Image { return w.im }, NewMemory(nil))
	for i := range w.log {
		w.replay(i)
	}
	w.decide(func(e *coordinator.Effects) { w.m.Loaded(w.now, e) })
}

func (w *offsetWalk) replay(i int) {
	x := &w.log[i]
	if x.marker {
		w.m.ReplayMarker(x.producer, 0, x.commit)
		return
	}
	if err := w.m.Replay(&coordinator.Replayed{Key: x.key, Value: x.value, Offset: int64(i), ProducerID: x.producer}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *offsetWalk) append(x logged) {
	w.log = append(w.log, x)
	w.replay(len(w.log) - 1)
}

// decide runs a decision as the runtime does.
func (w *offsetWalk) decide(decision func(e *coordinator.Effects)) {
	var e coordinator.Effects
	decision(&e)
	for _, r := range e.Records {
		w.append(logged{key: bytes.Clone(r.Key), value: bytes.Clone(r.Value), producer: -1})
	}
	for _, r := range e.Replies {
		r(nil)
	}
}

func name(group, topic string, partition int32) string {
	return fmt.Sprint(group, " ", topic, " ", partition)
}

func (w *offsetWalk) pick() (group, topic string, partition int32) {
	return fmt.Sprint("g", w.rng.IntN(4)), fmt.Sprint("t", w.rng.IntN(3)), int32(w.rng.IntN(3))
}

// drop takes back what the model knows of all names that match.
func (w *offsetWalk) drop(match func(name string) bool) {
	maps.DeleteFunc(w.model, func(n, _ string) bool { return match(n) })
	for _, pending := range w.open {
		maps.DeleteFunc(pending, func(n, _ string) bool { return match(n) })
	}
}

// value is a commit's as the model writes it.
func value(offset int64, epoch int32, text string) string {
	return fmt.Sprint(offset, " ", epoch, " ", text)
}

func (w *offsetWalk) commit() {
	group, topic, partition := w.pick()
	q := kmsg.NewPtrOffsetCommitRequest()
	q.Version, q.Group, q.Generation = 9, group, -1
	t, p := kmsg.NewOffsetCommitRequestTopic(), kmsg.NewOffsetCommitRequestTopicPartition()
	t.Topic, t.TopicID = topic, w.im.Topic(topic).ID
	p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = partition, w.rng.Int64N(1000), int32(w.rng.IntN(3))-1, new(fmt.Sprint("m", len(w.log)))
	t.Partitions = append(t.Partitions, p)
	q.Topics = append(q.Topics, t)
	w.decide(func(e *coordinator.Effects) {
		w.m.OffsetCommit(w.now, q, func(rows []kmsg.OffsetCommitResponseTopic, err error) {
			if err != nil || rows[0].Partitions[0].ErrorCode != 0 {
				w.t.Fatalf("commit: %v, %+v", err, rows)
			}
		}, e)
	})
	n := name(group, topic, partition)
	w.model[n], w.written[n], w.times[n] = value(p.Offset, p.LeaderEpoch, *p.Metadata), len(w.log)-1, w.now
}

// transact writes an offset of a transaction, or ends one (rule 8.4.12).
func (w *offsetWalk) transact() {
	producer := int64(w.rng.IntN(2))
	if w.rng.IntN(3) == 0 {
		commit := w.rng.IntN(2) == 0
		w.append(logged{marker: true, producer: producer, commit: commit})
		for n, v := range w.open[producer] {
			if at := w.places[producer][n]; commit && (w.model[n] == "" || at > w.written[n]) {
				w.model[n], w.written[n], w.times[n] = v, at, w.timeOf(at)
			}
		}
		delete(w.open, producer)
		return
	}
	group, topic, partition := w.pick()
	x := offset{committed: w.rng.Int64N(1000), leaderEpoch: -1, metadata: "txn", commitTime: w.now.UnixMilli(), expireTime: -1, topicID: w.im.Topic(topic).ID}
	w.append(logged{key: appendOffsetKey(nil, group, topic, partition), value: appendOffsetValue(nil, &x), producer: producer})
	if w.open[producer] == nil {
		w.open[producer], w.places[producer] = map[string]string{}, map[string]int{}
	}
	n := name(group, topic, partition)
	w.open[producer][n], w.places[producer][n] = value(x.committed, x.leaderEpoch, x.metadata), len(w.log)-1
}

// timeOf is the commit time in the log's record.
func (w *offsetWalk) timeOf(at int) time.Time {
	x, err := readOffsetValue(w.log[at].value)
	if err != nil {
		w.t.Fatal(err)
	}
	return time.UnixMilli(x.commitTime)
}

func (w *offsetWalk) remove() {
	group, topic, partition := w.pick()
	if w.rng.IntN(3) == 0 {
		w.decide(func(e *coordinator.Effects) { w.m.DeleteGroup(group, func(error) {}, e) })
		w.drop(func(n string) bool { return n[:2] == group })
		return
	}
	_, committed := w.model[name(group, topic, partition)]
	q := kmsg.NewPtrOffsetDeleteRequest()
	q.Group = group
	q.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: topic, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: partition}}}}
	w.decide(func(e *coordinator.Effects) {
		w.m.OffsetDelete(q, func([]kmsg.OffsetDeleteResponseTopic, error) {}, e)
	})
	if committed { // what is only pending is left alone
		w.drop(func(n string) bool { return n == name(group, topic, partition) })
	}
}

// recreate deletes a topic and makes another of its name.
func (w *offsetWalk) recreate() {
	_, topic, _ := w.pick()
	w.image(&metadata.RemoveTopicRecord{ID: w.im.Topic(topic).ID})
	if w.rng.IntN(2) == 0 && len(w.open) == 0 {
		w.topic(topic) // before anybody has looked; committed offsets say of which topic they are
	}
	w.m.sweepSoon(w.now)
	w.pass(0)
	if w.im.Topic(topic) == nil {
		w.topic(topic)
	}
	w.drop(func(n string) bool { return n[3:5] == topic })
}

// pass lets time pass, with the ticks that fall into it.
func (w *offsetWalk) pass(d time.Duration) {
	end := w.now.Add(d)
	for at := w.m.Deadline(); !at.IsZero() && !at.After(end); at = w.m.Deadline() {
		if at.After(w.now) {
			w.now = at
		}
		w.decide(func(e *coordinator.Effects) { w.m.Tick(w.now, e) })
	}
	w.now = end
	w.expire(d)
}

// expire takes over what has expired in the last d. Offsets are looked at once a minute: one that is older than the
// retention may be gone, and must be when it was so a minute ago.
func (w *offsetWalk) expire(d time.Duration) {
	there := w.contents()
	for n := range w.model {
		age, pending := w.now.Sub(w.times[n]), false
		for _, p := range w.open {
			_, ok := p[n]
			pending = pending || ok
		}
		switch {
		case pending || age < walkRetention:
		case there[n] == "":
			delete(w.model, n)
		case d >= 2*time.Minute && age >= walkRetention+time.Minute:
			w.t.Fatalf("%s has not expired after %v", n, age)
		}
	}
}

// contents is what the machine holds, as the model has it.
func (w *offsetWalk) contents() map[string]string {
	got := map[string]string{}
	for id, g := range w.m.groups {
		for topic, partitions := range g.offsets.topics {
			for p, x := range partitions {
				got[name(id, topic, p)] = value(x.committed, x.leaderEpoch, x.metadata)
			}
		}
	}
	return got
}

// check holds the machine against the model.
func (w *offsetWalk) check(step int) {
	if got := w.contents(); !maps.Equal(got, w.model) {
		w.t.Fatalf("step %d: the machine has\n%v\nand the model\n%v", step, got, w.model)
	}
}

// TestOffsetsWalk: commits, transactions, deletions, expiry and topics that are made anew, with reloads from the log at any
// point, against a map.
func TestOffsetsWalk(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newOffsetWalk(t, seed)
			for step := range 400 {
				switch w.rng.IntN(20) {
				case 0, 1, 2, 3, 4, 5, 6, 7, 8, 9:
					w.commit()
				case 10, 11, 12, 13:
					w.transact()
				case 14, 15:
					w.remove()
				case 16:
					w.recreate()
				case 17:
					w.load()
					w.pass(0)
				default:
					w.pass(time.Duration(w.rng.IntN(1500)) * time.Second)
				}
				w.check(step)
			}
		})
	}
}

// TestSweepInSteps: a sweep of many groups comes to all of them, and gives way to what others ask of the machine after
// each step.
func TestSweepInSteps(t *testing.T) {
	const groups = 3*sweptPerTick + 1
	w := newOffsetWalk(t, 1)
	for i := range groups {
		x := offset{committed: 1, expireTime: -1, commitTime: w.now.UnixMilli()}
		w.append(logged{key: appendOffsetKey(nil, fmt.Sprint("g", i), "gone", 0), value: appendOffsetValue(nil, &x), producer: -1})
	}
	w.m.sweepSoon(w.now)
	for left := groups; left > 0; left -= min(left, sweptPerTick) {
		if n := len(w.contents()); n != left {
			t.Fatalf("%d offsets are left of %d", n, left)
		}
		w.now = w.now.Add(10 * time.Millisecond)
		w.decide(func(e *coordinator.Effects) { w.m.Tick(w.now, e) })
	}
	if n := len(w.contents()); n > 0 {
		t.Errorf("%d offsets are left at the end", n)
	}
}
