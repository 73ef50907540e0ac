package handler

import (
	"errors"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/replica"
)

// Metrics counts what a Service does. Collectors read it; the hot path pays atomic adds only. What moved through
// partitions is counted there (replica.Traffic).
type Metrics struct{ apis [kmsg.MaxKey + 1]apiMetrics }

// apiMetrics are the counters of one API.
type apiMetrics struct {
	requests [maxVersions]atomic.Int64
	codes    atomic.Pointer[codeCounts] // nil until the first answer: most APIs are never asked
}

// maxVersions is more versions than an API has.
const maxVersions = 32

// codeCounts are counters by error code, from minCode on.
type codeCounts [maxCode - minCode + 1]atomic.Int64

// The error codes that are counted: all that there are, and room for some.
const minCode, maxCode = -1, 200

// Requests calls yield for every API and version that was asked for, with the number of requests started.
func (m *Metrics) Requests(yield func(key, version int16, n int64)) {
	for key := range m.apis {
		for version := range m.apis[key].requests {
			if n := m.apis[key].requests[version].Load(); n > 0 {
				yield(int16(key), int16(version), n)
			}
		}
	}
}

// Started returns the number of requests of an API that were started.
func (m *Metrics) Started(key int16) (n int64) {
	for version := range m.apis[key].requests {
		n += m.apis[key].requests[version].Load()
	}
	return n
}

// Codes calls yield for every API and error code that was answered, with how many of them: each code that an answer
// carried counts, that of success too, also those of single topics, partitions and groups.
func (m *Metrics) Codes(yield func(key, code int16, n int64)) {
	for key := range m.apis {
		codes := m.apis[key].codes.Load()
		for i := 0; codes != nil && i < len(codes); i++ {
			if n := codes[i].Load(); n > 0 {
				yield(int16(key), int16(i+minCode), n)
			}
		}
	}
}

// FetchSessions returns how many incremental fetch sessions there are, with how many partitions, and how many lost their
// slot to another since the start.
func (s *Service) FetchSessions() (sessions, partitions int, evictions int64) {
	c := s.sessions
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.byID), c.rows, c.evictions
}

// requestRun is requests of one API and version that are not counted yet.
type requestRun struct {
	key, version int16
	n            int64
}

// countRequest counts one that was started.
func (c *connection) countRequest(key, version int16) {
	if r := &c.requests; r.n > 0 && (r.key != key || r.version != version) {
		c.countRequests()
	}
	c.requests = requestRun{key, version, c.requests.n + 1}
}

// countRequests makes the run show. A version that is out of all bounds gets no counter.
func (c *connection) countRequests() {
	if r := &c.requests; r.n > 0 && r.version >= 0 && r.version < maxVersions {
		c.svc.metrics.apis[r.key].requests[r.version].Add(r.n)
	}
	c.requests.n = 0
}

// answered counts n error codes of an answer.
func (m *Metrics) answered(key, code int16, n int64) {
	if code < minCode || code > maxCode || n == 0 {
		return
	}
	a := &m.apis[key]
	codes := a.codes.Load()
	if codes == nil {
		a.codes.CompareAndSwap(nil, new(codeCounts))
		codes = a.codes.Load()
	}
	codes[code-minCode].Add(n)
}

// produced counts what became of one partition of a Produce request.
func (row *produceRow) produced() {
	if row.p == nil {
		return
	}
	t := row.p.Traffic()
	t.Add(replica.Produces, 1)
	switch {
	case row.err == nil && !row.append.Duplicate:
		t.Appended(&row.append.Info)
	case errors.Is(row.err, kerr.MessageTooLarge):
		t.Add(replica.BytesRejected, int64(row.size))
	case row.err != nil && !blameless(row.err):
		t.Add(replica.FailedProduces, 1)
	}
}

// blameless reports whether an error says where the partition is rather than that something failed. Such errors are part
// of normal life, and neither Kafka nor we alarm anybody with them.
func blameless(err error) bool {
	for _, e := range []*kerr.Error{kerr.NotLeaderForPartition, kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.InconsistentTopicID,
		kerr.FencedLeaderEpoch, kerr.UnknownLeaderEpoch, kerr.OffsetOutOfRange, kerr.OffsetNotAvailable} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// fetched counts a Fetch request that looked at a partition.
func (x *rowResult) fetched() {
	if x.row.p == nil {
		return
	}
	t := x.row.p.Traffic()
	t.Add(replica.Fetches, 1)
	if x.Err != nil && !blameless(x.Err) {
		t.Add(replica.FailedFetches, 1)
	}
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
