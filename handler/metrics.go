package handler

import (
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/log/record"
)

// Metrics counts what a Service does. Collectors read it; the hot path pays atomic adds only.
type Metrics struct {
	requests [kmsg.MaxKey + 1]atomic.Int64

	MessagesIn atomic.Int64 // records appended by clients
	BytesIn    atomic.Int64 // of record batches
}

// Requests returns how many requests of an API were started.
func (m *Metrics) Requests(key int16) int64 { return m.requests[key].Load() }

func (m *Metrics) request(key int16) { m.requests[key].Add(1) }

func (m *Metrics) produced(i *record.Info) {
	m.MessagesIn.Add(int64(i.RecordCount))
	m.BytesIn.Add(int64(i.Size))
}

// internalTopics are written by the broker only (rule 6.1.3).
var internalTopics = [...]string{"__consumer_offsets", "__transaction_state", "__share_group_state"}

func isInternal(topic string) bool {
	for _, t := range internalTopics {
		if t == topic {
			return true
		}
	}
	return false
}
