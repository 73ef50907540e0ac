package group

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"

	"github.com/kbroker/kbroker/coordinator"
)

// Types of the records of __consumer_offsets, the first two bytes of their keys (rule 8.6.1). Those of other group types
// are passed over.
const (
	keyOffsetV0 = 0 // as keyOffset
	keyOffset   = 1
)

// errRecord is a record whose bytes are not what its type says.
var errRecord = errors.New("malformed record")

// replayers replay the records of each type. The reader stands behind the type, and aliases the record: strings are
// cloned by whoever keeps them.
var replayers = map[int16]func(m *Machine, key *kbin.Reader, r *coordinator.Replayed) error{
	keyOffsetV0:          (*Machine).replayOffset,
	keyOffset:            (*Machine).replayOffset,
	keyGroupEpoch:        (*Machine).replayEpoch,
	keyPartitionMetadata: (*Machine).replayConsumer,
	keyMember:            (*Machine).replayConsumer,
	keyTargetEpoch:       (*Machine).replayConsumer,
	keyTarget:            (*Machine).replayConsumer,
	keyCurrent:           (*Machine).replayConsumer,
	keyRegex:             (*Machine).replayConsumer,
	groupMetadataType:    (*Machine).replayClassic,
}

// replayClassic applies a record of a classic group.
func (m *Machine) replayClassic(key *kbin.Reader, r *coordinator.Replayed) error {
	id := key.String()
	if !key.Ok() {
		return errRecord
	}
	if err := m.replayGroupMetadata(id, r.Value, m.loading); err != nil {
		return err
	}
	m.forget(id)
	return nil
}

// replayEpoch applies the record that makes a consumer group.
func (m *Machine) replayEpoch(key *kbin.Reader, r *coordinator.Replayed) error {
	if err := m.replayConsumer(key, r); err != nil {
		return err
	}
	m.forget(key.UnsafeString())
	return nil
}

// Replay implements coordinator.Machine.
func (m *Machine) Replay(r *coordinator.Replayed) error {
	key := kbin.Reader{Src: r.Key}
	kind := key.Int16()
	if !key.Ok() {
		return fmt.Errorf("a key of %d bytes: %w", len(r.Key), errRecord)
	}
	replay := replayers[kind]
	if replay == nil {
		return nil
	}
	if err := replay(m, &key, r); err != nil {
		return fmt.Errorf("a record of type %d: %w", kind, err)
	}
	return nil
}

// Loaded implements coordinator.Machine.
func (m *Machine) Loaded(now time.Time, e *coordinator.Effects) {
	m.loading = false
	for _, g := range m.groups {
		if g.members != nil {
			g.members.countTo(m.memory)
			g.members.loaded(now, e)
		}
	}
	m.sweepSoon(now) // a topic may have been deleted while nobody was here to see it
}

// Unload implements coordinator.Machine.
func (m *Machine) Unload(err error) {
	for _, g := range m.groups {
		if g.members != nil {
			g.members.countTo(nil)
		}
	}
	for _, g := range m.groups {
		if g.members != nil {
			g.members.unload(err)
		}
	}
}
