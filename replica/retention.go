package replica

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/log"
)

// Retain removes what the topic's settings want gone (rule 3.6), and tells readers when the log start moved. It waits for
// the disk.
func (p *Partition) Retain(now time.Time) error {
	before := p.log.StartOffset()
	err := p.log.Retain(now, p.HighWatermark())
	if p.log.StartOffset() != before {
		p.wake()
	}
	return err
}

// wake tells every reader that something changed.
func (p *Partition) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wakeLocked()
}

// DeleteRecords raises the log start to offset, which HighWatermarkOffset stands for the HighWatermark (rules 3.7.1 and
// 3.7.3), and returns the log start as it is now: with one replica that is the low watermark (rule 3.7.4). The new start
// is on the disk when KeepLogStarts has returned.
//
// Errors wrap the kerr value for the client: NOT_LEADER_OR_FOLLOWER, POLICY_VIOLATION for a topic whose cleanup.policy
// does not have delete, OFFSET_OUT_OF_RANGE, or those of the log.
func (p *Partition) DeleteRecords(offset int64) (lowWatermark int64, err error) {
	if err := p.CheckLeader(-1); err != nil {
		return -1, err
	}
	if !p.log.Config().Delete {
		return -1, fmt.Errorf("delete records of %s: its cleanup.policy does not have delete: %w", p, kerr.PolicyViolation)
	}
	hw := p.HighWatermark()
	if offset == HighWatermarkOffset {
		offset = hw
	}
	if offset < 0 || offset > hw {
		return -1, fmt.Errorf("delete records of %s below %d: the high watermark is %d: %w", p, offset, hw, kerr.OffsetOutOfRange)
	}
	if err := p.log.RaiseStart(offset); err != nil {
		return -1, err
	}
	p.wake()
	return p.log.StartOffset(), nil
}

// HighWatermarkOffset stands for the HighWatermark in DeleteRecords.
const HighWatermarkOffset int64 = -1

// KeepLogStarts returns when the log starts of the partitions, as they are now, are on the disk: a crash does not bring
// back what was deleted. It waits for the disk.
func KeepLogStarts(partitions []*Partition) error {
	kept := map[*log.Dir]bool{}
	var errs []error
	for _, p := range partitions {
		if d := p.log.Dir(); !kept[d] {
			kept[d] = true
			errs = append(errs, d.KeepStarts())
		}
	}
	return errors.Join(errs...)
}
