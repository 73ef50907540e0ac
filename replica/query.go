package replica

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/log"
)

// Timestamps of an OffsetQuery that are none (rule 6.7.1).
const (
	LatestOffset       int64 = -1 // the end of what the asker may see
	EarliestOffset     int64 = -2 // the LogStartOffset
	MaxTimestampOffset int64 = -3 // the record with the largest timestamp
)

// OffsetQuery asks one partition for an offset, as ListOffsets does.
type OffsetQuery struct {
	// Timestamp is in milliseconds since 1970, or one of the constants above.
	Timestamp          int64
	CurrentLeaderEpoch int32 // -1: not checked
	// Isolation says where the asker's log ends; ReadLog is for followers and for debugging.
	Isolation Isolation
	// AnyReplica lets a replica that does not lead answer, for debugging (rule 6.7.6).
	AnyReplica bool
}

// FoundOffset answers an OffsetQuery. Each field is -1 when there is none.
type FoundOffset struct {
	Offset      int64
	Timestamp   int64 // of the record that was found
	LeaderEpoch int32 // of that record, or of the boundary (rule 6.7.3)
}

// notFound is the answer when no record qualifies, which is no error.
var notFound = FoundOffset{Offset: -1, Timestamp: -1, LeaderEpoch: -1}

// FindOffset answers ListOffsets (rules 6.7.2 to 6.7.7). Errors wrap the kerr value for the client.
func (p *Partition) FindOffset(q *OffsetQuery) (FoundOffset, error) {
	err := p.checkEpochAndLeader(q.CurrentLeaderEpoch)
	if q.AnyReplica && errors.Is(err, kerr.NotLeaderForPartition) {
		err = nil
	}
	if err != nil {
		return notFound, err
	}
	var found log.TimestampOffset
	var ok bool
	switch q.Timestamp {
	case LatestOffset:
		if err := p.settled(q.Isolation); err != nil {
			return notFound, err
		}
		return FoundOffset{Offset: p.endFor(q.Isolation), Timestamp: -1, LeaderEpoch: p.LeaderEpoch()}, nil
	case EarliestOffset:
		start := p.log.StartOffset()
		return FoundOffset{Offset: start, Timestamp: -1, LeaderEpoch: p.log.EpochForOffset(start)}, nil
	case MaxTimestampOffset:
		found, ok, err = p.log.MaxTimestamp()
	default:
		found, ok, err = p.log.OffsetForTimestamp(q.Timestamp)
	}
	switch {
	case err != nil || !ok:
		return notFound, err
	case found.Offset >= p.endFor(q.Isolation): // rule 6.7.5
		return notFound, p.settled(q.Isolation)
	}
	return FoundOffset{Offset: found.Offset, Timestamp: found.Timestamp, LeaderEpoch: found.LeaderEpoch}, nil
}

// endFor is the end of what a reader may see.
func (p *Partition) endFor(i Isolation) int64 {
	switch i {
	case ReadLog:
		return p.log.End().Offset
	case ReadCommitted:
		return p.LastStableOffset()
	}
	return p.HighWatermark()
}

// settled reports OFFSET_NOT_AVAILABLE while the HighWatermark of a leader lies below where its epoch starts: what it
// says is committed may be less than what the leader before it said (KIP-207, rule 6.7.7). Followers do not care.
func (p *Partition) settled(i Isolation) error {
	if i == ReadLog {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state.leads() && p.state.highWatermark < p.state.epochStart {
		return kerr.OffsetNotAvailable
	}
	return nil
}

// EndOffsetForEpoch answers OffsetForLeaderEpoch (rule 6.8): the largest epoch ≤ epoch that is known and the offset at
// which it ends, (-1, -1) when that is unknown. currentLeaderEpoch is as in OffsetQuery.
func (p *Partition) EndOffsetForEpoch(currentLeaderEpoch, epoch int32) (int32, int64, error) {
	if err := p.checkEpochAndLeader(currentLeaderEpoch); err != nil {
		return -1, -1, err
	}
	known, end := p.log.EndOffsetForEpoch(epoch)
	return known, end, nil
}

// ActiveProducers returns what is known of the producers that wrote to the partition, in no order (rule 5.11.3). Only
// the leader answers.
func (p *Partition) ActiveProducers() ([]log.ProducerInfo, error) {
	if err := p.CheckLeader(-1); err != nil {
		return nil, err
	}
	return p.log.ActiveProducers(nil), nil
}

// checkEpochAndLeader is CheckLeader for requests in which only -1 means that there is no epoch: any other negative one
// is older than all (seen on Kafka 4.3.1).
func (p *Partition) checkEpochAndLeader(currentLeaderEpoch int32) error {
	if currentLeaderEpoch < -1 {
		return kerr.FencedLeaderEpoch
	}
	return p.CheckLeader(currentLeaderEpoch)
}

// Dirs returns the data directories of this node.
func (m *Manager) Dirs() []*log.Dir { return m.o.Logs.Dirs() }
