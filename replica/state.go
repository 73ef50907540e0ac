package replica

import (
	"slices"
	"time"

	"github.com/kbroker/kbroker/metadata"
)

// follower is what a leader knows of another replica: where its log ends, by the fetches it made in the current leader
// epoch, and when it was last caught up (rule 9.3).
type follower struct {
	end          int64 // durable LogEndOffset; -1 until it fetched in this epoch
	brokerEpoch  int64
	caughtUp     time.Time
	lastFetch    time.Time
	lastFetchEnd int64 // leader's LogEndOffset at lastFetch
}

// state is the pure half of a Partition: who leads, who is in sync, and how far the log is committed. It reads no clock
// and does no I/O; its methods are what the seeded walks drive.
//
// Invariants: leader ∈ isr ⊆ replicas when there is a leader; highWatermark never falls within a leader epoch;
// highWatermark ≤ the end of every member of the maximal ISR at the time it moved.
type state struct {
	self           metadata.BrokerID
	leader         metadata.BrokerID // -1: none
	leaderEpoch    metadata.LeaderEpoch
	partitionEpoch metadata.PartitionEpoch
	replicas       []metadata.BrokerID
	isr            []metadata.BrokerID // as the controller committed it
	proposed       []metadata.BrokerID // as asked of the controller and not answered yet; nil: nothing asked
	minISR         int                 // min.insync.replicas
	followers      map[metadata.BrokerID]*follower
	localEnd       int64 // this replica's end that counts: durable, or written in replicated mode
	highWatermark  int64
	epochStart     int64 // LogEndOffset at which this leader took office (rule 6.7.7)
}

// leads reports whether this node is the leader.
func (s *state) leads() bool { return s.leader == s.self }

// apply takes over a registration. logEnd is this replica's LogEndOffset, which starts a new leader's epoch. It reports
// whether the leader epoch changed.
func (s *state) apply(r *metadata.PartitionRegistration, logEnd int64, now time.Time) (newEpoch bool) {
	newEpoch = r.LeaderEpoch != s.leaderEpoch || r.Leader != s.leader
	s.leader, s.leaderEpoch, s.partitionEpoch = r.Leader, r.LeaderEpoch, r.PartitionEpoch
	s.replicas, s.isr, s.proposed = r.Replicas, r.ISR, nil
	if newEpoch {
		// What a follower said in an older epoch says nothing about this one (rule 9.5).
		s.followers = nil
		s.epochStart = logEnd
	}
	if !s.leads() {
		s.followers = nil
		return newEpoch
	}
	for _, id := range s.replicas {
		if id == s.self || s.followers[id] != nil {
			continue
		}
		if s.followers == nil {
			s.followers = map[metadata.BrokerID]*follower{}
		}
		s.followers[id] = &follower{end: -1, caughtUp: now, lastFetch: now, lastFetchEnd: -1}
	}
	for id := range s.followers {
		if !slices.Contains(s.replicas, id) {
			delete(s.followers, id)
		}
	}
	return newEpoch
}

// effectiveMinISR is min.insync.replicas capped by the replica count (rule 6.1.5).
func (s *state) effectiveMinISR() int { return min(s.minISR, len(s.replicas)) }

// underMinISR reports whether acks=all must be refused (rule 6.1.5). It looks at the committed ISR: a proposal may fail.
func (s *state) underMinISR() bool { return len(s.isr) < s.effectiveMinISR() }

// advance raises the HighWatermark to the smallest end of the maximal ISR, committed and proposed members together, and
// reports whether it moved. It stands still while the committed ISR is below its minimum (KIP-966, rule 9.1).
func (s *state) advance() bool {
	if !s.leads() || s.underMinISR() {
		return false
	}
	end := s.localEnd
	for _, set := range [2][]metadata.BrokerID{s.isr, s.proposed} {
		for _, id := range set {
			if id == s.self {
				continue
			}
			f := s.followers[id]
			if f == nil || f.end < 0 {
				return false
			}
			end = min(end, f.end)
		}
	}
	if end <= s.highWatermark {
		return false
	}
	s.highWatermark = end
	return true
}

// fetched records that a follower has everything below offset, durably (rule 9.2). logEnd is the leader's LogEndOffset
// now. It reports whether the follower is to be proposed for the ISR (rule 9.3).
func (s *state) fetched(id metadata.BrokerID, brokerEpoch, offset, logEnd int64, now time.Time) (expand bool) {
	f := s.followers[id]
	if f == nil || !s.leads() || brokerEpoch < f.brokerEpoch {
		return false
	}
	f.brokerEpoch = brokerEpoch
	if offset >= logEnd {
		f.caughtUp = now
	} else if f.lastFetchEnd >= 0 && offset >= f.lastFetchEnd {
		f.caughtUp = f.lastFetch
	}
	f.end, f.lastFetch, f.lastFetchEnd = offset, now, logEnd
	return s.proposed == nil && !slices.Contains(s.isr, id) && offset >= s.highWatermark && offset >= s.epochStart
}

// lagging returns the ISR members that were not caught up for lag, and so are to be proposed out (rule 9.3).
func (s *state) lagging(lag time.Duration, now time.Time) (out []metadata.BrokerID) {
	if !s.leads() || s.proposed != nil {
		return nil
	}
	for _, id := range s.isr {
		if f := s.followers[id]; id != s.self && f != nil && f.end < s.localEnd && now.Sub(f.caughtUp) > lag {
			out = append(out, id)
		}
	}
	return out
}

// follow takes the HighWatermark that a leader told, bounded by this replica's own end (rule 9.8).
func (s *state) follow(leaderHW int64) bool {
	hw := min(leaderHW, s.localEnd)
	if s.leads() || hw <= s.highWatermark {
		return false
	}
	s.highWatermark = hw
	return true
}

// truncated lowers what depends on the log's end after a truncation to end (rule 3.8.2).
func (s *state) truncated(end int64) {
	s.localEnd = min(s.localEnd, end)
	s.highWatermark = min(s.highWatermark, end)
}
