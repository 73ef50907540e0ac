package coordinator

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/log/record"
	"github.com/kbroker/kbroker/metadata"
	"github.com/kbroker/kbroker/replica"
)

const (
	// maxLoads is how many partitions are loaded at a time: each takes a read buffer, and more would only compete for
	// the disk.
	maxLoads = 4
	// maxQueued bounds the decisions that wait for one shard, and maxAwaiting the replies that wait for one partition to
	// be committed. Both are far above what a disk that works lets pile up; beyond them clients are told to come back.
	maxQueued   = 20_000
	maxAwaiting = 100_000
	// maxRound bounds the decisions that share one flush, so that the first of many is not answered late.
	maxRound = 1024
)

// Options is what a Runtime is made of.
type Options[M Machine] struct {
	Topic string // the internal topic
	Self  metadata.BrokerID
	// New makes the machine of a partition, before its log is replayed to it.
	New func(partition int32) M
	// Lookup returns this node's replica of a partition of Topic, or nil.
	Lookup func(partition int32) *replica.Partition
	Codecs *record.Codecs
	// Compression is what batches are written with, as of now.
	Compression func() record.Compression
	Logger      *slog.Logger
}

// Runtime runs the machines of the partitions that this node leads: one shard each. It follows metadata images.
//
// A shard has a goroutine only while it has work: decisions to make, replies that wait, or a log to load. An idle one is
// a machine and at most one timer.
type Runtime[M Machine] struct {
	o       Options[M]
	loads   chan struct{} // taken by sending while a partition is loaded
	scratch sync.Pool     // *scratch, for shards that have work
	running sync.WaitGroup
	large   atomic.Int64 // decisions refused for the size of their records

	mu     sync.RWMutex // guards what follows; taken before a shard's mutex
	shards []*shard[M]  // by partition, nil where this node does not lead
	closed bool
}

// NewRuntime makes a runtime without shards.
func NewRuntime[M Machine](o Options[M]) *Runtime[M] {
	return &Runtime[M]{o: o, loads: make(chan struct{}, maxLoads)}
}

// Do has the machine of a partition decide: decide is called once, on the shard, after the decisions queued before it,
// and sees to it that its caller gets an answer (Effects). When it cannot be called, or panics, fail gets the reason
// instead:
//
//	COORDINATOR_LOAD_IN_PROGRESS  the partition is being loaded
//	NOT_COORDINATOR               this node does not lead it, or does not serve it any more
//	COORDINATOR_NOT_AVAILABLE     the runtime was closed, or too much waits already
//
// A machine at rest decides on the caller's goroutine, and writes there what it decided. Beyond that Do does not wait.
// Whoever is answered may be answered before it returns, so its caller holds no lock that an answer takes.
func (r *Runtime[M]) Do(partition int32, decide func(m M, now time.Time, e *Effects), fail Reply) {
	r.mu.RLock()
	var s *shard[M]
	if partition >= 0 && int(partition) < len(r.shards) {
		s = r.shards[partition]
	}
	closed := r.closed
	r.mu.RUnlock()
	switch {
	case closed:
		fail(kerr.CoordinatorNotAvailable)
	case s == nil:
		fail(kerr.NotCoordinator)
	default:
		s.submit(task[M]{decide, fail})
	}
}

// Partitions returns the partitions that this node coordinates, loaded or not.
func (r *Runtime[M]) Partitions() []int32 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var led []int32
	for i, s := range r.shards {
		if s != nil {
			led = append(led, int32(i))
		}
	}
	return led
}

// Apply makes the shards those of the partitions that this node leads in next. It is called with every image, in order,
// by one goroutine, after the replicas have taken it over. Shards of a new leader epoch are loaded at once, so that the
// timers of what they hold start now (rule 8.3.13).
func (r *Runtime[M]) Apply(next *metadata.Image) {
	var partitions []*metadata.PartitionRegistration
	if t := next.Topic(r.o.Topic); t != nil {
		partitions = t.Partitions
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	for i := range max(len(partitions), len(r.shards)) {
		if i == len(r.shards) {
			r.shards = append(r.shards, nil)
		}
		var p *replica.Partition
		epoch := int32(-1)
		if i < len(partitions) && partitions[i].Leader == r.o.Self {
			p, epoch = r.o.Lookup(int32(i)), int32(partitions[i].LeaderEpoch)
		}
		s := r.shards[i]
		if s != nil && s.partition == p && s.epoch == epoch {
			continue
		}
		if s != nil {
			s.stop(kerr.NotCoordinator)
			r.shards[i] = nil
		}
		if p != nil {
			r.shards[i] = newShard(r, p, epoch)
		}
	}
}

// TooLarge is the number of decisions that were refused since their records do not fit into a batch of the topic.
func (r *Runtime[M]) TooLarge() int64 { return r.large.Load() }

// Close drops every machine, answering what is parked with COORDINATOR_NOT_AVAILABLE, and waits for the shards' work to
// end.
func (r *Runtime[M]) Close() {
	r.mu.Lock()
	r.closed = true
	for _, s := range r.shards {
		if s != nil {
			s.stop(kerr.CoordinatorNotAvailable)
		}
	}
	r.mu.Unlock()
	r.running.Wait()
}

// String names the runtime in messages.
func (r *Runtime[M]) String() string { return fmt.Sprintf("coordinator of %s", r.o.Topic) }
