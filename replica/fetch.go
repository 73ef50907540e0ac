package replica

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/metadata"
)

// Isolation says how far a reader sees.
type Isolation int8

// Isolation levels. The first two are Kafka's codes on the wire.
const (
	ReadUncommitted Isolation = 0 // up to the HighWatermark
	ReadCommitted   Isolation = 1 // up to the LastStableOffset
	ReadLog         Isolation = 2 // up to the LogEndOffset: followers
)

// FetchRequest asks one partition for records.
type FetchRequest struct {
	Offset             int64
	MaxBytes           int32
	MinOneBatch        bool  // the first batch may exceed MaxBytes (rule 6.4.6)
	CurrentLeaderEpoch int32 // negative: not checked
	LastFetchedEpoch   int32 // negative: not checked
	Isolation          Isolation
	// Follower is the id of the replica that asks, nil for a consumer; FollowerEpoch its broker epoch, -1 if unknown.
	Follower      *metadata.BrokerID
	FollowerEpoch int64
}

// FetchResult is the answer of one partition. On success HighWatermark, LastStableOffset and LogStartOffset are always
// set (rule 6.3.8); with an error they are -1 (rule 6.3.7).
type FetchResult struct {
	Err              error
	HighWatermark    int64
	LastStableOffset int64
	LogStartOffset   int64
	End              int64 // of what this reader may see: a reader there has nothing to read
	// Diverged is set when the reader's log differs from this one: it must truncate (rule 6.3.6). Records is empty then.
	Diverged      bool
	DivergedEpoch int32
	DivergedEnd   int64
	Records       log.Slice // to be released when N > 0
	Aborted       []log.AbortedTxn
}

// Fetch reads from the leader, after the checks of rule 6.3 in their order.
func (p *Partition) Fetch(q *FetchRequest, r *FetchResult) {
	*r = FetchResult{HighWatermark: -1, LastStableOffset: -1, LogStartOffset: -1, Aborted: r.Aborted[:0]}
	if r.Err = p.CheckLeader(q.CurrentLeaderEpoch); r.Err != nil {
		return
	}
	if q.Follower != nil {
		if r.Err = p.checkFollower(q); r.Err != nil {
			return
		}
	}
	if q.LastFetchedEpoch >= 0 {
		epoch, end := p.log.EndOffsetForEpoch(q.LastFetchedEpoch)
		if end < 0 {
			r.Err = kerr.OffsetOutOfRange
			return
		}
		if epoch < q.LastFetchedEpoch || end < q.Offset {
			r.Diverged, r.DivergedEpoch, r.DivergedEnd = true, epoch, end
			p.ends(r)
			return
		}
	}
	upper := p.upper(q.Isolation)
	start := p.log.StartOffset()
	if q.Offset < start || q.Offset > p.log.End().Offset {
		r.Err = kerr.OffsetOutOfRange
		return
	}
	if q.Follower != nil {
		// Only now: the offset of a log that diverges says nothing about what it has of this one.
		p.followerFetched(q)
	}
	p.ends(r)
	r.End = upper.Offset
	if q.Offset >= upper.Offset {
		return
	}
	if err := p.read(q, upper, r); err != nil {
		*r = FetchResult{Err: err, HighWatermark: -1, LastStableOffset: -1, LogStartOffset: -1, Aborted: r.Aborted[:0]}
	}
}

// read fills in the records, and for read_committed the aborted transactions among them. It begins anew when the cleaner
// replaced the segment in between: the index of the new one lacks transactions whose records only the old one has.
func (p *Partition) read(q *FetchRequest, upper log.Position, r *FetchResult) (err error) {
	for {
		if r.Records, err = p.log.Read(q.Offset, q.MaxBytes, q.MinOneBatch, upper); err != nil {
			return err
		}
		if q.Isolation != ReadCommitted || r.Records.N == 0 {
			return nil
		}
		aborted, err := p.log.AbortedTransactions(q.Offset, p.log.UpperBound(&r.Records, upper))
		if err == nil && p.log.Current(&r.Records) {
			r.Aborted = aborted
			return nil
		}
		r.Records.Release()
		if err != nil {
			return err
		}
	}
}

// ends fills in how far the partition reaches. The LastStableOffset is read before the HighWatermark, so that it never
// looks larger.
func (p *Partition) ends(r *FetchResult) {
	r.LastStableOffset = p.LastStableOffset()
	r.HighWatermark = max(p.HighWatermark(), r.LastStableOffset)
	r.LogStartOffset = p.log.StartOffset()
}

// upper is the end of what a reader may see, with its place in the log.
func (p *Partition) upper(i Isolation) log.Position {
	if i == ReadLog {
		return p.log.End()
	}
	p.mu.Lock()
	hw := p.hwPosition
	p.mu.Unlock()
	if i == ReadCommitted {
		if u, ok := p.log.FirstUnstable(); ok && u.Offset < hw.Offset {
			return u
		}
	}
	return hw
}

// checkFollower refuses one that is no replica here: its metadata may be newer, or this is not its leader (rule 6.2.3).
func (p *Partition) checkFollower(q *FetchRequest) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.state.followers[*q.Follower] != nil:
		return nil
	case q.CurrentLeaderEpoch >= 0:
		return kerr.UnknownLeaderEpoch
	}
	return kerr.NotLeaderForPartition
}

// followerFetched takes a follower's fetch offset as its acknowledgement (rule 9.2).
func (p *Partition) followerFetched(q *FetchRequest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.fetched(*q.Follower, q.FollowerEpoch, q.Offset, p.log.End().Offset, time.Now())
	p.advanceLocked()
}
