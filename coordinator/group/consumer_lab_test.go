package group

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/coordinator/group/assignor"
	"github.com/kbroker/kbroker/metadata"
)

// consumerLab is a machine with a log and a clock of its own. Every decision is written to the log and replayed, as the
// runtime does, and then a second machine is loaded from the whole log: it must hold the same groups.
type consumerLab struct {
	t      testing.TB
	m      *Machine
	config *Config
	now    time.Time
	im     *metadata.Image
	log    []coordinator.Record
	last   []coordinator.Record // of the last decision
	timing map[string]ConsumerTiming
	// unchecked skips the second machine, for walks that check now and then.
	unchecked bool
}

func newConsumerLab(t testing.TB) *consumerLab {
	l := &consumerLab{t: t, now: time.UnixMilli(1_700_000_000_000), im: &metadata.Image{}, timing: map[string]ConsumerTiming{}}
	usual := ConsumerTiming{SessionTimeout: 45 * time.Second, HeartbeatInterval: 5 * time.Second, AssignmentInterval: time.Second}
	l.config = &Config{
		MinSessionTimeout: time.Second, MaxSessionTimeout: time.Hour, MaxSize: 1 << 30, MaxBytes: 1 << 40,
		Consumer: ConsumerConfig{
			Assignors: []string{assignor.Uniform, assignor.Range}, MaxSize: 1 << 30, Upgrade: true, Downgrade: true, RegexRefresh: 10 * time.Minute,
			Timing: func(id string) ConsumerTiming {
				if t, ok := l.timing[id]; ok {
					return t
				}
				return usual
			},
		},
	}
	l.m = l.machine()
	l.m.Loaded(l.now, &coordinator.Effects{})
	return l
}

func (l *consumerLab) machine() *Machine {
	m := NewMachine(func() *Config { return l.config }, func() *metadata.Image { return l.im }, NewMemory(nil))
	m.entropy = &counter{}
	return m
}

// counter is entropy that repeats itself from one run to the next.
type counter struct{ n byte }

func (c *counter) Read(b []byte) (int, error) {
	c.n++
	for i := range b {
		b[i] = c.n
	}
	return len(b), nil
}

var _ io.Reader = (*counter)(nil)

// topicID makes a topic's id of its name.
func topicID(name string) (id metadata.UUID) {
	copy(id[:], name)
	return id
}

// topic creates a topic, or gives it more partitions.
func (l *consumerLab) topic(name string, partitions int32) {
	var records []metadata.Record
	from := int32(0)
	if t := l.im.Topic(name); t == nil {
		records = append(records, &metadata.TopicRecord{Name: name, ID: topicID(name)})
	} else {
		from = int32(len(t.Partitions))
	}
	for p := from; p < partitions; p++ {
		records = append(records, &metadata.PartitionRecord{Topic: topicID(name), Partition: p,
			PartitionRegistration: metadata.PartitionRegistration{Replicas: []int32{1}, ISR: []int32{1}, Leader: 1}})
	}
	l.metadata(records...)
}

func (l *consumerLab) metadata(records ...metadata.Record) {
	im, err := l.im.Apply(l.im.Index+1, records...)
	if err != nil {
		l.t.Fatal(err)
	}
	l.im = im
}

// decide runs a decision, as the runtime does.
func (l *consumerLab) decide(decision func(e *coordinator.Effects)) {
	l.t.Helper()
	var e coordinator.Effects
	decision(&e)
	for i, r := range e.Records {
		l.log = append(l.log, coordinator.Record{Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value)})
		if err := l.m.Replay(&coordinator.Replayed{Key: r.Key, Value: r.Value, Offset: int64(len(l.log) + i), ProducerID: -1}); err != nil {
			l.t.Fatal(err)
		}
	}
	l.last = e.Records
	for _, r := range slices.Concat(e.Soft, e.Replies) {
		r(nil)
	}
	if !l.unchecked {
		l.checkReplay()
	}
}

// load makes a machine of a log.
func (l *consumerLab) load(log []coordinator.Record) *Machine {
	l.t.Helper()
	m := l.machine()
	for i, r := range log {
		if err := m.Replay(&coordinator.Replayed{Key: r.Key, Value: r.Value, Offset: int64(i), ProducerID: -1}); err != nil {
			l.t.Fatal(err)
		}
	}
	return m
}

// checkReplay compares the machine with what its log and its compacted log give.
func (l *consumerLab) checkReplay() {
	l.t.Helper()
	if err := audit(l.m); err != nil {
		l.t.Fatal(err)
	}
	want := consumerDump(l.m)
	for what, log := range map[string][]coordinator.Record{"log": l.log, "compacted log": compacted(l.log, true), "log without tombstones": compacted(l.log, false)} {
		m := l.load(log)
		m.Loaded(l.now, &coordinator.Effects{})
		if got := consumerDump(m); got != want {
			l.t.Fatalf("the %s gives another machine:\n%s\nthan there is:\n%s", what, got, want)
		}
	}
}

// compacted is what compaction leaves of a log: the last record of each key.
func compacted(log []coordinator.Record, tombstones bool) []coordinator.Record {
	last := map[string]int{}
	for i, r := range log {
		last[string(r.Key)] = i
	}
	var out []coordinator.Record
	for i, r := range log {
		if last[string(r.Key)] == i && (tombstones || r.Value != nil) {
			out = append(out, r)
		}
	}
	return out
}

// consumerDump prints the durable part of all groups of KIP-848, and nothing of the others.
func consumerDump(m *Machine) string {
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(m.groups)) {
		g, ok := m.groups[id].members.(*consumerGroup)
		if !ok {
			continue // a classic group that has just been made has no record yet
		}
		fmt.Fprintf(&b, "%s: %s epoch=%d target=%d hash=%x owners=%d\n", id, g.state(), g.epoch, g.targetEpoch, g.hash, len(g.owners))
		for _, id := range slices.Sorted(maps.Keys(g.members)) {
			m := g.members[id]
			fmt.Fprintf(&b, "  %s epoch=%d previous=%d state=%d assigned=%v revoking=%v target=%v %v%v topics=%v regex=%q classic=%v\n", id, m.epoch, m.previous, m.state,
				setString(m.assigned.partitions), setString(m.revoking.partitions), setString(m.target), m.assigned.epochs, m.revoking.epochs, m.topics, m.regex, m.classic != nil)
		}
		for _, p := range slices.Sorted(maps.Keys(g.resolved)) {
			fmt.Fprintf(&b, "  %q is %v\n", p, g.resolved[p].topics)
		}
		names, patterns := slices.Sorted(maps.Keys(g.names)), slices.Sorted(maps.Keys(g.patterns))
		fmt.Fprintf(&b, "  names=%v patterns=%v instances=%v classics=%d offered=%v\n", names, patterns, g.instances, g.classics, g.offered)
	}
	return b.String()
}

// setString prints partitions as topic:0,1 and so on.
func setString(set assignor.Partitions) string {
	var parts []string
	byTopic(set, func(from, to int) {
		var numbers []string
		for _, p := range set[from:to] {
			numbers = append(numbers, fmt.Sprint(p.Index))
		}
		parts = append(parts, strings.TrimRight(string(set[from].Topic[:]), "\x00")+":"+strings.Join(numbers, ","))
	})
	return "[" + strings.Join(parts, " ") + "]"
}

// beat sends a heartbeat and returns its answer.
func (l *consumerLab) beat(req *kmsg.ConsumerGroupHeartbeatRequest, deny ...string) *kmsg.ConsumerGroupHeartbeatResponse {
	l.t.Helper()
	if err := CheckConsumerHeartbeat(req, l.config.Consumer.Assignors); err != nil {
		resp := kmsg.NewPtrConsumerGroupHeartbeatResponse()
		text := err.Error()
		resp.ErrorCode, resp.ErrorMessage = code(err), &text
		l.last = nil
		return resp
	}
	var got *kmsg.ConsumerGroupHeartbeatResponse
	l.decide(func(e *coordinator.Effects) {
		q := &ConsumerHeartbeat{Request: req, From: Client{ID: "lab", Host: "/192.0.2.1"}, MayDescribe: func(t string) bool { return !slices.Contains(deny, t) }}
		l.m.ConsumerGroupHeartbeat(l.now, q, func(r *kmsg.ConsumerGroupHeartbeatResponse, err error) {
			if err != nil {
				l.t.Fatal(err)
			}
			got = r
		}, e)
	})
	if got == nil {
		l.t.Fatal("a heartbeat was not answered")
	}
	return got
}

// advance lets time pass, with the ticks that fall into it.
func (l *consumerLab) advance(d time.Duration) {
	end := l.now.Add(d)
	var written []coordinator.Record
	for {
		at := l.m.Deadline()
		if at.IsZero() || at.After(end) {
			break
		}
		if at.After(l.now) {
			l.now = at
		}
		l.decide(func(e *coordinator.Effects) { l.m.Tick(l.now, e) })
		written = append(written, l.last...)
	}
	l.now, l.last = end, written
}

// types prints the key types of the last decision's records, a minus before tombstones.
func (l *consumerLab) types() string {
	var b strings.Builder
	for _, r := range l.last {
		b.WriteByte(' ')
		if r.Value == nil {
			b.WriteByte('-')
		}
		fmt.Fprint(&b, int(r.Key[0])<<8|int(r.Key[1]))
	}
	return b.String()
}

// errorName is a code as people know it.
func errorName(code int16) string {
	if code == 0 {
		return "ok"
	}
	return cmp.Or(kerr.TypedErrorForCode(code).Message, fmt.Sprint(code))
}
