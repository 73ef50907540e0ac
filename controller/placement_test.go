package controller

import (
	"fmt"
	"slices"
	"testing"

	"github.com/kbroker/kbroker/metadata"
)

// withBrokers is a machine with brokers 1 to n that are alive, in turn in the given racks.
func withBrokers(t *testing.T, seed uint64, n int, racks ...string) *machine {
	t.Helper()
	m := newMachine(seed)
	for id := range metadata.BrokerID(n) {
		b := thisNode(1)
		b.ID, b.Rack = id+1, racks[int(id)%len(racks)]
		if _, _, err := m.decide(&registerBroker{b}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := m.decide(&heartbeat{broker: b.ID, epoch: m.image.Broker(b.ID).Epoch}); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// place creates a topic and returns its partitions.
func (m *machine) place(t *testing.T, name string, partitions int32, factor int16) []*metadata.PartitionRegistration {
	t.Helper()
	calls, _, err := m.decide(&createTopics{topics: []NewTopic{{Name: name, Partitions: partitions, ReplicationFactor: factor}}})
	if err != nil || calls[0].err != nil {
		t.Fatal(err, calls[0].err)
	}
	return m.image.Topic(name).Partitions
}

// Rule 7.4.12: leaders and followers are spread over brokers, and replicas over racks.
func TestPlacementSpreads(t *testing.T) {
	for _, test := range []struct {
		brokers, factor int
		racks           []string
	}{
		{3, 3, []string{""}}, {5, 3, []string{""}}, {6, 3, []string{"x", "y", "z"}}, {6, 2, []string{"x", "y"}},
		{7, 3, []string{"x", "y", "z"}}, {4, 4, []string{"x", "y"}}, {1, 1, []string{"x"}},
	} {
		m := withBrokers(t, 5, test.brokers, test.racks...)
		leaders, replicas := map[metadata.BrokerID]int{}, map[metadata.BrokerID]int{}
		const rounds = 20
		for i, p := range m.place(t, "t", int32(rounds*test.brokers), int16(test.factor)) {
			leaders[p.Leader]++
			racks := map[string]int{}
			for _, id := range p.Replicas {
				replicas[id]++
				racks[m.image.Broker(id).Rack]++
			}
			if want := min(len(test.racks), test.factor); len(racks) != want {
				t.Errorf("%+v: partition %d with replicas %v is in %d racks, want %d", test, i, p.Replicas, len(racks), want)
			}
		}
		for id := range metadata.BrokerID(test.brokers) {
			if n := leaders[id+1]; n != rounds {
				t.Errorf("%+v: broker %d leads %d partitions, want %d", test, id+1, n, rounds)
			}
			if n, want := replicas[id+1], rounds*test.factor; len(test.racks) == 1 && n != want {
				t.Errorf("%+v: broker %d has %d replicas, want %d", test, id+1, n, want)
			}
		}
	}
}

// What one broker leads does not all have the same follower, which would carry double when the broker fails.
func TestFollowersVary(t *testing.T) {
	m := withBrokers(t, 6, 5, "")
	followers := map[metadata.BrokerID]map[metadata.BrokerID]bool{}
	for _, p := range m.place(t, "t", 20, 2) {
		if followers[p.Leader] == nil {
			followers[p.Leader] = map[metadata.BrokerID]bool{}
		}
		followers[p.Leader][p.Replicas[1]] = true
	}
	for leader, others := range followers {
		if len(others) != 4 {
			t.Errorf("leader %d has the followers %v", leader, others)
		}
	}
}

// Topics with one partition do not all land on one broker, and partitions that are added go on where the topic ended.
func TestSmallTopicsSpread(t *testing.T) {
	m := withBrokers(t, 7, 3, "")
	leaders := map[metadata.BrokerID]int{}
	for i := range 60 {
		leaders[m.place(t, fmt.Sprint("t", i), 1, 1)[0].Leader]++
	}
	for id := range metadata.BrokerID(3) {
		if leaders[id+1] < 8 {
			t.Errorf("broker %d leads %d of 60 topics", id+1, leaders[id+1])
		}
	}
	if _, _, err := m.decide(&createPartitions{topics: []MorePartitions{{Topic: "t0", Count: 7}}}); err != nil {
		t.Fatal(err)
	}
	var added []metadata.BrokerID
	for _, p := range m.image.Topic("t0").Partitions[1:] {
		added = append(added, p.Leader)
	}
	slices.Sort(added)
	if !slices.Equal(added, []metadata.BrokerID{1, 1, 2, 2, 3, 3}) {
		t.Errorf("six more partitions are led by %v", added)
	}
}
