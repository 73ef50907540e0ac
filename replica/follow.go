package replica

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/log"
)

// LeaderFetch is what a leader answered to a follower's fetch of one partition.
type LeaderFetch struct {
	LeaderEpoch    int32 // under which the fetch was made; an answer to an older one is dropped
	HighWatermark  int64
	LogStartOffset int64
	Records        []byte
	// Diverged is set when the leader's log ends the follower's last epoch elsewhere: Epoch and End are where it does
	// (rule 6.3.6).
	Diverged bool
	Epoch    int32
	End      int64
}

// FollowerPosition is where a follower fetches from next: its durable end, so that the fetch is the acknowledgement, and
// the epoch of its last record, -1 for an empty log.
func (p *Partition) FollowerPosition() (offset int64, lastEpoch int32) {
	at := p.log.End()
	if p.log.Config().AckDurable() {
		at = p.log.DurableEnd()
	}
	e, ok := p.log.LatestEpoch()
	if !ok {
		return at.Offset, -1
	}
	return at.Offset, e.Epoch
}

// AppendAsFollower takes over what the leader sent: it truncates where the logs differ, or appends the records verbatim,
// and then follows the HighWatermark and the log start (rules 9.6 to 9.8). It reports whether the log was truncated; the
// next fetch says then whether that was enough.
//
// A diverging answer's HighWatermark and log start are ignored (KAFKA-14704). Errors: NOT_LEADER_OR_FOLLOWER when this
// replica leads meanwhile, FENCED_LEADER_EPOCH for an answer of an older epoch, and those of the log.
func (p *Partition) AppendAsFollower(f *LeaderFetch) (truncated bool, err error) {
	if err := p.follows(f.LeaderEpoch); err != nil {
		return false, err
	}
	if f.Diverged {
		return true, p.truncateTo(f)
	}
	if f.LogStartOffset > p.log.End().Offset {
		// Everything this replica has was deleted at the leader (rule 3.8.3).
		if err := p.log.TruncateFullyAndStartAt(f.LogStartOffset); err != nil {
			return false, fmt.Errorf("start %s anew at %d: %w", p, f.LogStartOffset, err)
		}
		truncated = true
	}
	if len(f.Records) > 0 {
		if _, err := p.log.AppendAsFollower(f.Records); err != nil {
			return truncated, fmt.Errorf("append to the follower %s: %w", p, err)
		}
	}
	p.mu.Lock()
	p.leaderHW = max(p.leaderHW, f.HighWatermark)
	p.advanceLocked()
	hw := p.state.highWatermark
	p.mu.Unlock()
	if start := min(f.LogStartOffset, hw); start > p.log.StartOffset() {
		if err := p.log.RaiseStart(start); err != nil {
			return truncated, fmt.Errorf("raise the log start of %s to %d: %w", p, start, err)
		}
	}
	return truncated, nil
}

// follows checks that this replica follows in the given leader epoch.
func (p *Partition) follows(epoch int32) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.gone != nil:
		return p.gone
	case p.state.leads():
		return kerr.NotLeaderForPartition
	case epoch < int32(p.state.leaderEpoch):
		return kerr.FencedLeaderEpoch
	}
	return nil
}

// truncateTo cuts the log to where it agrees with the leader's as far as this answer tells: the end of the leader's epoch
// there, and the end of the largest epoch here that is not newer.
func (p *Partition) truncateTo(f *LeaderFetch) error {
	end := min(f.End, p.log.End().Offset)
	if _, own := p.log.EndOffsetForEpoch(f.Epoch); own >= 0 {
		end = min(end, own)
	}
	if err := p.log.TruncateTo(end); err != nil {
		return fmt.Errorf("truncate %s to %d: %w", p, end, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.truncated(end)
	p.highWatermark.Store(p.state.highWatermark)
	p.hwPosition = log.At(p.state.highWatermark)
	p.leaderHW = min(p.leaderHW, end)
	p.wakeLocked()
	return nil
}
