package replica

import (
	"sync/atomic"

	"github.com/kbroker/kbroker/log/record"
)

// Traffic counts what moved through a partition since this node has it. Counting costs one atomic addition on memory
// that no other partition shares.
type Traffic struct{ counts [trafficKinds]atomic.Int64 }

// TrafficKind is what is counted.
type TrafficKind int

// The kinds. Requests are counted once for each partition that they name, as Kafka does.
const (
	MessagesIn     TrafficKind = iota // records appended
	BytesIn                           // of record batches appended, as they are kept
	BytesOut                          // of records sent to consumers
	ReplicationOut                    // of records sent to followers, in bytes
	Produces                          // Produce requests
	FailedProduces                    // that failed for what was in them, or on this node
	BytesRejected                     // of batches larger than max.message.bytes
	Fetches                           // Fetch requests that looked at the partition
	FailedFetches                     // that failed on this node

	trafficKinds
)

// Add counts n of a kind.
func (t *Traffic) Add(k TrafficKind, n int64) { t.counts[k].Add(n) }

// Appended counts a batch that was appended.
func (t *Traffic) Appended(i *record.Info) {
	t.Add(MessagesIn, int64(i.RecordCount))
	t.Add(BytesIn, int64(i.Size))
}

// TrafficSum is the counts of one or many partitions at a moment.
type TrafficSum [trafficKinds]int64

// AddTo adds the counts of t to sum.
func (t *Traffic) AddTo(sum *TrafficSum) {
	for k := range sum {
		sum[k] += t.counts[k].Load()
	}
}

// Traffic returns the partition's counters.
func (p *Partition) Traffic() *Traffic { return &p.traffic }

// Retired is the traffic of the partitions that this node had and has no more: a total must not fall when a topic is
// deleted. What a request in progress counts afterwards is lost.
func (m *Manager) Retired() TrafficSum {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.retired
}
