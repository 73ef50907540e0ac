package broker

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/coordinator/group"
	"github.com/kbroker/kbroker/internal/exposition"
)

// maxGroupSeries bounds the groups and committed offsets with series of their own, counted together: the first by
// partition of the offsets topic and by id.
const maxGroupSeries = 10_000

// groupSample is the groups that this node coordinates.
type groupSample struct {
	byState                     map[group.TypeState]int
	offsets                     int
	groups                      []group.GroupCensus
	omitted                     int
	active, loading, unanswered int // partitions of the offsets topic
}

// takeCensus asks every machine, one after the other: together they would hold as many copies of maxGroupSeries.
func (b *Broker) takeCensus() *groupSample {
	s := &groupSample{byState: map[group.TypeState]int{}}
	left := maxGroupSeries
	for _, p := range b.machines.Partitions() {
		c, err := b.census(p, left)
		switch {
		case err == nil:
			s.active++
		case errors.Is(err, kerr.CoordinatorLoadInProgress):
			s.loading++
		case errors.Is(err, kerr.NotCoordinator): // it moved away meanwhile
		default:
			s.unanswered++
		}
		for key, n := range c.ByState {
			s.byState[key] += n
		}
		for _, g := range c.Groups {
			left -= 1 + len(g.Offsets)
		}
		s.offsets += c.Offsets
		s.omitted += c.Omitted
		s.groups = append(s.groups, c.Groups...)
	}
	slices.SortFunc(s.groups, func(a, b group.GroupCensus) int { return cmp.Compare(a.ID, b.ID) })
	return s
}

// census asks one machine.
func (b *Broker) census(partition int32, limit int) (c group.Census, err error) {
	type answer struct {
		census group.Census
		err    error
	}
	answers := make(chan answer, 2) // after a fault of the machine there may be two
	b.machines.Do(partition, func(m *group.Machine, _ time.Time, e *coordinator.Effects) {
		taken := m.Census(limit)
		e.AnswerNow(func(err error) { answers <- answer{taken, err} })
	}, func(err error) { answers <- answer{err: err} })
	select {
	case a := <-answers:
		return a.census, a.err
	case <-time.After(askLimit):
		return c, kerr.RequestTimedOut
	}
}

// in counts the groups of a type in a state, of all states if it is empty.
func (s *groupSample) in(kind, state string) (n int) {
	for key, k := range s.byState {
		if key.Type == kind && (state == "" || key.State == state) {
			n += k
		}
	}
	return n
}

// classicGroups is a gauge of the classic groups in a state.
func classicGroups(name, mbean, state, help string) metric {
	return ofNode("kafka_coordinator_group_groupmetadatamanager_"+name, gauge, "kafka.coordinator.group:type=GroupMetadataManager,name="+mbean, help,
		func(s *scrape) float64 { return float64(s.groups.in("classic", state)) })
}

// consumerGroup is a metric of kafka_exporter about committed offsets.
func consumerGroup(name, help string, labels []string, write func(s *scrape, w *exposition.Writer)) metric {
	return metric{
		Family: exposition.Family{Name: "kafka_consumergroup_" + name, Kind: gauge, Help: help, Labels: append([]string{"consumergroup"}, labels...)},
		source: "kafka_consumergroup_" + name, write: write,
	}
}

// groupCoordinator is Kafka's MBean of the new group coordinator.
const groupCoordinator = "kafka.server:type=group-coordinator-metrics"

var groupMetrics = []metric{
	classicGroups("numgroups", "NumGroups", "", "Classic groups."),
	classicGroups("numgroupspreparingrebalance", "NumGroupsPreparingRebalance", "PreparingRebalance", "Classic groups that wait for members to join."),
	classicGroups("numgroupscompletingrebalance", "NumGroupsCompletingRebalance", "CompletingRebalance", "Classic groups that wait for their leader's assignment."),
	classicGroups("numgroupsstable", "NumGroupsStable", "Stable", "Classic groups whose members consume."),
	classicGroups("numgroupsempty", "NumGroupsEmpty", "Empty", "Classic groups without members, those that only committed offsets included."),
	ofNode("kafka_coordinator_group_groupmetadatamanager_numoffsets", gauge, "kafka.coordinator.group:type=GroupMetadataManager,name=NumOffsets",
		"Committed offsets of all groups.", func(s *scrape) float64 { return float64(s.groups.offsets) }),
	{
		Family: exposition.Family{Name: "kafka_server_group_coordinator_metrics_group_count", Kind: gauge, Labels: []string{"protocol"}, Help: "Groups of a protocol."},
		source: groupCoordinator,
		write: func(s *scrape, w *exposition.Writer) {
			for _, protocol := range []string{"classic", "consumer"} {
				w.Series(float64(s.groups.in(protocol, "")), protocol)
			}
		},
	},
	{
		Family: exposition.Family{Name: "kafka_server_group_coordinator_metrics_consumer_group_count", Kind: gauge, Labels: []string{"state"}, Help: "Groups of the consumer protocol in a state."},
		source: groupCoordinator,
		write: func(s *scrape, w *exposition.Writer) {
			for _, state := range []string{"Assigning", "Dead", "Empty", "Reconciling", "Stable"} {
				w.Series(float64(s.groups.in("consumer", state)), strings.ToLower(state))
			}
		},
	},
	{
		Family: exposition.Family{Name: "kafka_server_group_coordinator_metrics_num_partitions", Kind: gauge, Labels: []string{"state"}, Help: "Partitions of the offsets topic that this node coordinates."},
		source: groupCoordinator,
		write: func(s *scrape, w *exposition.Writer) {
			w.Series(float64(s.groups.active), "active")
			w.Series(float64(s.groups.loading), "loading")
		},
	},
	ofNode("kbroker_group_partitions_unanswered", gauge, "", "Partitions of the offsets topic whose groups are not in this scrape, since they were busy.",
		func(s *scrape) float64 { return float64(s.groups.unanswered) }),
	ofNode("kbroker_group_decisions_too_large_total", counter, "", "Decisions about groups that were refused, since their records are more than max.message.bytes of the offsets topic.",
		func(s *scrape) float64 { return float64(s.b.machines.TooLarge()) }),
	ofNode("kbroker_group_memory_bytes", gauge, "", "Memory that groups and their members take, of kbroker.group.max.bytes.",
		func(s *scrape) float64 { return float64(s.b.groupMemory.Used()) }),
	ofNode("kbroker_group_memory_refused_total", counter, "", "Requests of members that were refused since groups have no memory left.",
		func(s *scrape) float64 { return float64(s.b.groupMemory.Refused()) }),

	consumerGroup("members", "Members of a group.", nil, func(s *scrape, w *exposition.Writer) {
		for _, g := range s.groups.groups {
			w.Series(float64(g.Members), g.ID)
		}
	}),
	consumerGroup("current_offset", "Committed offset of a group.", []string{"topic", "partition"}, func(s *scrape, w *exposition.Writer) {
		s.eachOffset(func(id string, o *group.PartitionOffset) {
			w.Series(float64(o.Offset), id, o.Topic, number(o.Partition))
		})
	}),
	consumerGroup("lag", "Records between the committed offset and the high watermark.", []string{"topic", "partition"}, func(s *scrape, w *exposition.Writer) {
		s.eachOffset(func(id string, o *group.PartitionOffset) {
			if lag, ok := s.lag(o); ok {
				w.Series(float64(lag), id, o.Topic, number(o.Partition))
			}
		})
	}),
	consumerGroup("current_offset_sum", "Sum of the committed offsets of a topic.", []string{"topic"}, func(s *scrape, w *exposition.Writer) {
		s.eachTopic(w, func(o *group.PartitionOffset) (int64, bool) { return o.Offset, true })
	}),
	consumerGroup("lag_sum", "Sum of the lags of a topic's partitions.", []string{"topic"}, func(s *scrape, w *exposition.Writer) { s.eachTopic(w, s.lag) }),
}

func (s *scrape) eachOffset(yield func(id string, o *group.PartitionOffset)) {
	for i := range s.groups.groups {
		g := &s.groups.groups[i]
		for j := range g.Offsets {
			yield(g.ID, &g.Offsets[j])
		}
	}
}

// eachTopic writes a sum for each group and topic. A topic of which nothing is known has no series.
func (s *scrape) eachTopic(w *exposition.Writer, value func(*group.PartitionOffset) (int64, bool)) {
	for i := range s.groups.groups {
		g := &s.groups.groups[i]
		sums := map[string]int64{}
		for j := range g.Offsets {
			if v, ok := value(&g.Offsets[j]); ok {
				sums[g.Offsets[j].Topic] += v
			}
		}
		for _, topic := range slices.Sorted(maps.Keys(sums)) {
			w.Series(float64(sums[topic]), g.ID, topic)
		}
	}
}

// lag is how far a committed offset is behind, unknown for a partition that is not led here.
func (s *scrape) lag(o *group.PartitionOffset) (int64, bool) {
	p := s.b.replicas.LookupName(o.Topic, o.Partition)
	if p == nil || p.CheckLeader(-1) != nil {
		return 0, false
	}
	// An offset below the start is where retention has been: what is gone is not behind any more.
	return max(p.HighWatermark()-max(o.Offset, p.Log().StartOffset()), 0), true
}
