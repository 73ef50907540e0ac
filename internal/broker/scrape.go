package broker

import (
	"context"
	"strconv"
	"time"

	"github.com/kbroker/kbroker/controller"
	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/metadata"
	"github.com/kbroker/kbroker/replica"
)

// scrape is what the metrics of one moment are computed from: one walk over the partitions of this node, by topic name,
// so that it is always the same ones that have series of their own.
type scrape struct {
	b     *Broker
	image *metadata.Image
	self  metadata.BrokerID

	topics     []topicSample     // the first maxTopicSeries
	partitions []partitionSample // the first maxPartitionSeries
	total      replica.TrafficSum
	counts     partitionCounts
	groups     *groupSample
	quorum     *controller.QuorumStatus // nil while this node does not lead it
	omitted    int                      // topics, partitions and groups without series
}

// partitionCounts are sums over partitions.
type partitionCounts struct {
	// Of this node's replicas, and of those it leads.
	replicas, leaders, underReplicated, underMinISR, atMinISR, reassigning, offline, producers int
	// Of the whole cluster.
	leaderless, notPreferred int
}

// topicSample is a topic with a replica here.
type topicSample struct {
	name    string
	topic   *metadata.Topic
	traffic replica.TrafficSum
}

// partitionSample is a partition with a replica here.
type partitionSample struct {
	p      *replica.Partition
	index  string
	reg    *metadata.PartitionRegistration
	leads  bool
	minISR int
}

// askLimit is how long a scrape waits for the controller, and for the groups of one partition. Who does not answer in
// time is busy, and is left out.
const askLimit = 2 * time.Second

func newScrape(b *Broker) *scrape {
	s := &scrape{b: b, image: b.metadata.Load(), self: b.o.Config.Broker().NodeID, total: b.replicas.Retired(), groups: b.takeCensus()}
	ctx, cancel := context.WithTimeout(context.Background(), askLimit)
	defer cancel()
	if q, err := b.controller.Client().QuorumStatus(ctx); err == nil {
		s.quorum = q
	}
	for t := range s.image.Topics {
		s.addTopic(t)
	}
	s.omitted += s.groups.omitted
	return s
}

func (s *scrape) addTopic(t *metadata.Topic) {
	sample := topicSample{name: t.Name, topic: t}
	here := false
	for i, reg := range t.Partitions {
		if reg.Leader == metadata.NoBroker {
			s.counts.leaderless++
		} else if reg.Leader != reg.Replicas[0] {
			s.counts.notPreferred++
		}
		if p := s.b.replicas.LookupID(t.ID, int32(i)); p != nil {
			here = true
			p.Traffic().AddTo(&sample.traffic)
			s.addPartition(p, reg)
		}
	}
	if !here {
		return
	}
	for k, n := range sample.traffic {
		s.total[k] += n
	}
	if len(s.topics) == maxTopicSeries {
		s.omitted++
		return
	}
	s.topics = append(s.topics, sample)
}

func (s *scrape) addPartition(p *replica.Partition, reg *metadata.PartitionRegistration) {
	x := partitionSample{p: p, reg: reg, leads: reg.Leader == s.self, minISR: min(p.Settings().MinISR, len(reg.Replicas))}
	c := &s.counts
	c.replicas++
	c.producers += p.Log().ProducerCount()
	c.offline += one(p.Log().Dir().State() == log.DirFailed)
	if x.leads {
		c.leaders++
		c.underReplicated += one(x.underReplicated())
		c.underMinISR += one(x.underMinISR())
		c.atMinISR += one(x.atMinISR())
		c.reassigning += one(len(reg.AddingReplicas)+len(reg.RemovingReplicas) > 0)
	}
	if len(s.partitions) == maxPartitionSeries {
		s.omitted++
		return
	}
	x.index = strconv.Itoa(int(p.Index))
	s.partitions = append(s.partitions, x)
}

func (p *partitionSample) underReplicated() bool { return len(p.reg.ISR) < len(p.reg.Replicas) }
func (p *partitionSample) underMinISR() bool     { return len(p.reg.ISR) < p.minISR }
func (p *partitionSample) atMinISR() bool        { return len(p.reg.ISR) == p.minISR }

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}
