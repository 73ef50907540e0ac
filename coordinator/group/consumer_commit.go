package group

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/coordinator/group/assignor"
)

// firstConsumerCommit is the first version of OffsetCommit whose clients know of member epochs.
const firstConsumerCommit = 9

// checkCommit implements membership (rule 8.4.3). What it lets through with an epoch from before the member's current one
// is then asked about by partition.
func (g *consumerGroup) checkCommit(_ time.Time, c *commitIdentity) error {
	if c.epoch < 0 && len(g.members) == 0 {
		return nil // an administrator
	}
	m := g.members[c.memberID]
	switch {
	case m == nil:
		return kerr.UnknownMemberID
	case m.classic != nil:
		if c.epoch != m.epoch {
			return kerr.IllegalGeneration
		}
	case !c.transactional && c.version < firstConsumerCommit:
		return kerr.UnsupportedVersion
	case c.epoch > m.epoch:
		return staleEpoch(c)
	}
	return nil
}

// staleEpoch is the refusal of a commit in another epoch than the member's.
func staleEpoch(c *commitIdentity) error {
	if c.transactional {
		return kerr.IllegalGeneration // which is what older TxnOffsetCommit clients know
	}
	return kerr.StaleMemberEpoch
}

// checkCommitPartition says whether a commit that checkCommit has let through goes for one partition: with an older epoch
// it does where the member has owned the partition since then, so that nobody else can have.
func (g *consumerGroup) checkCommitPartition(c *commitIdentity, p assignor.Partition) error {
	m := g.members[c.memberID]
	if m == nil || m.classic != nil || c.epoch >= m.epoch {
		return nil
	}
	if m.assigned.ownedSince(p, c.epoch) || m.revoking.ownedSince(p, c.epoch) {
		return nil
	}
	return staleEpoch(c)
}

// ownedSince reports whether the partition is in the set since an epoch. The set is in order, as everywhere: a commit may
// be of thousands of partitions, each of which asks.
func (o owned) ownedSince(p assignor.Partition, epoch int32) bool {
	i, ok := slices.BinarySearchFunc(o.partitions, p, assignor.Partition.Compare)
	return ok && o.epochs[i] <= epoch
}

// checkFetch implements membership (rule 8.4.9).
func (g *consumerGroup) checkFetch(memberID *string, epoch int32) error {
	if memberID == nil && epoch < 0 {
		return nil
	}
	if memberID == nil {
		return kerr.UnknownMemberID
	}
	m := g.members[*memberID]
	switch {
	case m == nil:
		return kerr.UnknownMemberID
	case epoch == m.epoch:
		return nil
	case m.classic != nil:
		return kerr.IllegalGeneration
	}
	return kerr.StaleMemberEpoch
}
