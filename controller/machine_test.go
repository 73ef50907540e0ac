package controller

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/metadata"
)

// machine is the controller without Raft and without a disk: what is decided is applied at once. Its chance and its ids
// are those of a seed, so that equal commands give equal machines.
type machine struct {
	rules Rules
	image *metadata.Image
	log   [][]byte // the data of the entries so far; the first has index 1
	rng   *rand.Rand
	ids   uint32
}

func newMachine(seed uint64) *machine {
	return &machine{image: new(metadata.Image), rng: rand.New(rand.NewPCG(seed, 7)), rules: Rules{
		NumPartitions: 2, ReplicationFactor: 1, ValidateTopicConfig: checkConfigs,
		Features: map[string]LevelRange{"metadata.version": {7, 30}, "group.version": {0, 1}},
	}}
}

// checkConfigs knows the configs a and b, whose values may not both be "no".
func checkConfigs(overrides map[string]string) error {
	for name := range overrides {
		if name != "a" && name != "b" {
			return fmt.Errorf("config %q is unknown", name)
		}
	}
	if overrides["a"] == "no" && overrides["b"] == "no" {
		return fmt.Errorf("a and b cannot both be no")
	}
	return nil
}

func (m *machine) newID() metadata.UUID {
	m.ids++
	return metadata.UUID{0: 1, 8: 0x80, 13: byte(m.ids >> 16), 14: byte(m.ids >> 8), 15: byte(m.ids)}
}

// decide decides commands as one batch and applies what comes of it, through its encoding. It returns the records.
func (m *machine) decide(cmds ...command) ([]*call, []metadata.Record, error) {
	d := newDecision(m.image, m.image.Index+1, m.rules, m.rng, m.newID)
	var calls []*call
	for _, cmd := range cmds {
		calls = append(calls, &call{ctx: context.Background(), cmd: cmd})
	}
	if n := d.decide(calls); n != len(calls) {
		return nil, nil, fmt.Errorf("only %d of %d calls were decided", n, len(calls))
	}
	if len(d.records) == 0 {
		return calls, nil, nil
	}
	m.log = append(m.log, d.data)
	next, err := replay(m.image, d.data)
	if err != nil {
		return nil, nil, err
	}
	if !sameButEpochs(next, d.head) {
		return nil, nil, fmt.Errorf("what was applied is not what was decided")
	}
	m.image = next
	return calls, d.records, nil
}

// replay applies the data of the next entry.
func replay(im *metadata.Image, data []byte) (*metadata.Image, error) {
	records, err := metadata.DecodeRecords(data)
	if err != nil {
		return nil, err
	}
	return im.Apply(im.Index+1, records...)
}

// sameButEpochs compares two images. The head's index is a guess, and here always a right one.
func sameButEpochs(a, b *metadata.Image) bool {
	return bytes.Equal(metadata.EncodeImage(nil, a), metadata.EncodeImage(nil, b))
}

// TestRandomWalk has random commands decided in random batches, and checks after each batch what must always hold.
func TestRandomWalk(t *testing.T) {
	for seed := range uint64(8) {
		m := walkMachine(t, seed, 150)
		twin := walkMachine(t, seed, 150)
		if !bytes.Equal(metadata.EncodeImage(nil, m.image), metadata.EncodeImage(nil, twin.image)) {
			t.Errorf("seed %d: the same commands gave different images", seed)
		}
	}
}

func walkMachine(t *testing.T, seed uint64, steps int) *machine {
	m := newMachine(seed)
	rng := rand.New(rand.NewPCG(seed, 8))
	given := int64(0) // producer ids below it are given out
	for step := range steps {
		var batch []command
		for range 1 + rng.IntN(4) {
			batch = append(batch, randomCommand(rng, m.image))
		}
		calls, _, err := m.decide(batch...)
		if err != nil {
			t.Fatalf("seed %d, step %d: %v", seed, step, err)
		}
		for _, c := range calls {
			if c.err != nil && kafkaError(c.err) == nil {
				t.Fatalf("seed %d, step %d: %T fails: %v", seed, step, c.cmd, c.err)
			}
			if a, ok := c.cmd.(*allocateProducerIDs); ok && c.err == nil {
				if a.first < given {
					t.Fatalf("seed %d, step %d: producer id %d is given out again", seed, step, a.first)
				}
				given = a.first + producerIDBlock
			}
		}
		if fault := checkCluster(m.image); fault != "" {
			t.Fatalf("seed %d, step %d: %s", seed, step, fault)
		}
	}
	checkReplay(t, m, rng)
	return m
}

// checkReplay checks that the log gives the image, from the beginning and from a snapshot taken anywhere.
func checkReplay(t *testing.T, m *machine, rng *rand.Rand) {
	t.Helper()
	snapshotAt := rng.IntN(len(m.log))
	im := new(metadata.Image)
	for i, data := range m.log {
		var err error
		if i == snapshotAt {
			if im, err = metadata.DecodeImage(metadata.EncodeImage(nil, im)); err != nil {
				t.Fatal(err)
			}
		}
		if im, err = replay(im, data); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(metadata.EncodeImage(nil, im), metadata.EncodeImage(nil, m.image)) {
		t.Errorf("the log does not give the image")
	}
}

// checkCluster returns what is wrong with an image, or "".
func checkCluster(im *metadata.Image) string {
	for topic := range im.Topics {
		if len(topic.Partitions) == 0 {
			return topic.Name + " has no partition"
		}
		for i, p := range topic.Partitions {
			where := fmt.Sprintf("%s-%d %+v: ", topic.Name, i, *p)
			switch {
			case len(p.Replicas) == 0 || len(p.Directories) != len(p.Replicas) || factor(p) != factor(topic.Partitions[0]) || len(p.AddingReplicas) != len(p.RemovingReplicas):
				return where + "replicas"
			case len(p.ISR) == 0 || slices.ContainsFunc(p.ISR, func(id metadata.BrokerID) bool { return !slices.Contains(p.Replicas, id) }):
				return where + "the ISR"
			case p.Leader != metadata.NoBroker && (!slices.Contains(p.ISR, p.Leader) || !canLead(im.Broker(p.Leader))):
				return where + "the leader"
			case p.Leader == metadata.NoBroker && slices.ContainsFunc(p.ISR, func(id metadata.BrokerID) bool { return canLead(im.Broker(id)) }):
				return where + "nobody leads, though somebody could"
			}
			seen := map[metadata.BrokerID]bool{}
			for _, id := range slices.Concat(p.Replicas) {
				if seen[id] {
					return where + "a replica is there twice"
				}
				seen[id] = true
			}
		}
	}
	for r := range im.ConfigResources {
		if r.Type == metadata.ConfigTopic && im.Topic(r.Name) == nil {
			return fmt.Sprintf("configs of topic %q, which is not there", r.Name)
		}
		if r.Type == metadata.ConfigTopic && checkConfigs(im.Config(r)) != nil {
			return fmt.Sprintf("bad configs of topic %q", r.Name)
		}
	}
	return ""
}

// factor is the replication factor that a partition has when no move is under way.
func factor(p *metadata.PartitionRegistration) int { return len(p.Replicas) - len(p.RemovingReplicas) }

// randomCommand draws a command that makes sense more often than not.
func randomCommand(rng *rand.Rand, im *metadata.Image) command {
	broker := metadata.BrokerID(1 + rng.IntN(5))
	epoch := int64(rng.IntN(100))
	if b := im.Broker(broker); b != nil && rng.IntN(5) > 0 {
		epoch = b.Epoch
	}
	name := fmt.Sprintf("t%c%d", "._-"[rng.IntN(3)], rng.IntN(8))
	switch rng.IntN(13) {
	case 0:
		return &registerBroker{metadata.Broker{ID: broker, Incarnation: metadata.UUID{15: byte(rng.IntN(200))}, Rack: []string{"", "x", "y"}[rng.IntN(3)],
			Listeners: []metadata.Listener{{Name: "PLAINTEXT", Host: "h", Port: 1}}, Directories: []metadata.UUID{{14: byte(broker), 15: byte(rng.IntN(8) / 7)}}}}
	case 1, 2:
		return &heartbeat{broker: broker, epoch: epoch, want: Heartbeat{WantFence: rng.IntN(4) == 0, WantShutdown: rng.IntN(6) == 0}}
	case 3, 4:
		return &createTopics{validateOnly: rng.IntN(5) == 0, topics: []NewTopic{
			{Name: name, Partitions: int32(rng.IntN(5) - 1), ReplicationFactor: int16(rng.IntN(5) - 1)},
			{Name: name + "x", Partitions: -1, ReplicationFactor: -1, Configs: []ConfigSetting{{"a", new("no")}}},
		}}
	case 5:
		var ids []metadata.UUID
		for _, n := range []string{name, name + "x", "none"} {
			if topic := im.Topic(n); topic != nil {
				ids = append(ids, topic.ID, topic.ID)
			}
		}
		return &deleteTopics{ids: append(ids, metadata.UUID{1, 2, 3})}
	case 6:
		return &createPartitions{validateOnly: rng.IntN(5) == 0, topics: []MorePartitions{{Topic: name, Count: int32(rng.IntN(8))}}}
	case 7:
		return &alterConfigs{validateOnly: rng.IntN(5) == 0, alterations: []ConfigAlteration{
			{Resource: metadata.ConfigResource{Type: metadata.ConfigTopic, Name: name}, Set: map[string]*string{"a": new("no"), "b": nil}},
			{Resource: metadata.ConfigResource{Type: metadata.ConfigTopic, Name: name + "x"}, Set: map[string]*string{"b": new([]string{"no", "yes"}[rng.IntN(2)])}},
			{Resource: metadata.ConfigResource{Type: metadata.ConfigBroker, Name: []string{"", "1", "9"}[rng.IntN(3)]}, Set: map[string]*string{"c": new("1")}},
		}}
	case 8:
		return &allocateProducerIDs{broker: broker, epoch: epoch}
	case 9:
		return &electLeaders{unclean: rng.IntN(2) == 0, partitions: []PartitionName{{name, 0}, {name, 1}, {name + "x", 0}, {"none", 0}}}
	case 10:
		return randomMoves(rng, im, name)
	case 11:
		if rng.IntN(4) > 0 {
			return &reassign{moves: []Reassignment{{PartitionName: PartitionName{name, 0}}}}
		}
		return &unregisterBroker{broker: broker}
	default:
		return randomProposal(rng, im, broker, epoch, name)
	}
}

// randomMoves draws other replicas for the partitions of a topic.
func randomMoves(rng *rand.Rand, im *metadata.Image, name string) command {
	r := &reassign{sameFactor: true}
	topic := im.Topic(name)
	if topic == nil {
		return r
	}
	for i, p := range topic.Partitions {
		m := Reassignment{PartitionName: PartitionName{name, int32(i)}}
		for _, id := range rng.Perm(6)[:factor(p)] {
			m.Replicas = append(m.Replicas, metadata.BrokerID(id))
		}
		r.moves = append(r.moves, m)
	}
	return r
}

// randomProposal draws an ISR for a partition of a topic.
func randomProposal(rng *rand.Rand, im *metadata.Image, broker metadata.BrokerID, epoch int64, name string) command {
	a := &alterPartitions{broker: broker, epoch: epoch}
	topic := im.Topic(name)
	if topic == nil {
		return a
	}
	for i, p := range topic.Partitions {
		proposal := ISRProposal{Topic: topic.ID, Partition: int32(i), LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch}
		for _, id := range p.Replicas {
			if b := im.Broker(id); b != nil && (id == broker || rng.IntN(2) == 0) {
				proposal.ISR = append(proposal.ISR, ISRMember{id, b.Epoch})
			}
		}
		a.proposals = append(a.proposals, proposal)
	}
	return a
}

// describe is a record as a line of text.
func describe(r metadata.Record) string {
	text := fmt.Sprintf("%+v", r)
	switch r := r.(type) {
	case *metadata.PartitionChangeRecord:
		leader := "-"
		if r.Leader != nil {
			leader = fmt.Sprint(*r.Leader)
		}
		text = fmt.Sprintf("topic %d partition %d leader %s isr %v", r.Topic[15], r.Partition, leader, r.ISR)
		if r.AddingReplicas != nil {
			text += fmt.Sprintf(" replicas %v adding %v removing %v", r.Replicas, r.AddingReplicas, r.RemovingReplicas)
		}
	case *metadata.ClientQuotaRecord:
		value := "(none)"
		if r.Value != nil {
			value = fmt.Sprint(*r.Value)
		}
		text = fmt.Sprintf("%+v %s=%s", r.Entity, r.Key, value)
	case *metadata.ScramCredentialRecord:
		text = fmt.Sprintf("%s %d", r.User.Name, r.User.Mechanism)
		if r.Credential != nil {
			text += fmt.Sprintf(" iterations %d", r.Credential.Iterations)
		}
	case *metadata.PartitionRecord:
		text = fmt.Sprintf("topic %d partition %d replicas %v isr %v leader %d", r.Topic[15], r.Partition, r.Replicas, r.ISR, r.Leader)
	case *metadata.TopicRecord:
		text = fmt.Sprintf("%s id %d", r.Name, r.ID[15])
	case *metadata.RemoveTopicRecord:
		text = fmt.Sprintf("id %d", r.ID[15])
	case *metadata.RegisterBrokerRecord:
		text = fmt.Sprintf("%d incarnation %d rack %q fenced %t", r.ID, r.Incarnation[15], r.Rack, r.Fenced)
	case *metadata.BrokerChangeRecord:
		text = fmt.Sprintf("%d epoch %d fenced %t shutting-down %t", r.ID, r.Epoch, r.Fenced, r.ShuttingDown)
	case *metadata.ConfigRecord:
		value := "(default)"
		if r.Value != nil {
			value = *r.Value
		}
		text = fmt.Sprintf("%d %q %s=%s", r.Resource.Type, r.Resource.Name, r.Name, value)
	}
	kind := strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%T", r), "*metadata."), "Record")
	return kind + " " + text
}

// A batch ends when its entry is large enough, and a request that would make too large an entry is refused alone.
func TestBatchesAreBounded(t *testing.T) {
	m := newMachine(1)
	alter := func(size int) *call {
		return &call{ctx: context.Background(), cmd: &alterConfigs{alterations: []ConfigAlteration{{
			Resource: metadata.ConfigResource{Type: metadata.ConfigGroup, Name: "g"}, Set: map[string]*string{"k": new(strings.Repeat("x", size))}}}}}
	}
	d := newDecision(m.image, 1, m.rules, m.rng, m.newID)
	queue := []*call{alter(1), alter(maxEntryBytes + 1), alter(batchBytes / 2), alter(batchBytes/2 + 1), alter(2)}
	if n := d.decide(queue); n != 4 {
		t.Errorf("%d of 5 calls are one batch, want 4", n)
	}
	for i, c := range queue[:4] {
		if refused := errors.Is(c.err, kerr.PolicyViolation); refused != (i == 1) || !refused && c.err != nil {
			t.Errorf("call %d: %v", i, c.err)
		}
	}
	if len(d.data) > 2*batchBytes || len(d.records) != 3 {
		t.Errorf("the batch has %d records in %d bytes", len(d.records), len(d.data))
	}
	// Each batch has at most the records of one request more than one request may have.
	d = newDecision(m.image, 1, m.rules, m.rng, m.newID)
	var many []*call
	for range 3 {
		set := map[string]*string{}
		for i := range 6000 {
			set[fmt.Sprint("k", i)] = new(fmt.Sprint(len(many)))
		}
		many = append(many, &call{ctx: context.Background(), cmd: &alterConfigs{alterations: []ConfigAlteration{{
			Resource: metadata.ConfigResource{Type: metadata.ConfigGroup, Name: "g"}, Set: set}}}})
	}
	if n := d.decide(many); n != 2 {
		t.Errorf("%d of 3 calls are one batch, want 2", n)
	}
}
