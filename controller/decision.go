package controller

import (
	"math/rand/v2"

	"github.com/kbroker/kbroker/controller/raftwal"
	"github.com/kbroker/kbroker/metadata"
)

// Rules is what the controller needs to know of the cluster's configuration, and of nothing else. The functions are
// pure, and called from the controller's goroutine.
type Rules struct {
	// NumPartitions and ReplicationFactor are what a new topic gets that does not say (rule 7.4.4).
	NumPartitions     int32
	ReplicationFactor int16
	// Features are the features that may be finalized, and the levels that this version of kbroker works at.
	Features map[string]LevelRange
	// ValidateTopicConfig looks at the complete set of a topic's overrides. Its error, which need not be a Kafka error,
	// becomes INVALID_CONFIG.
	ValidateTopicConfig func(overrides map[string]string) error
	// ValidateConfig does the same for the resources that are not topics.
	ValidateConfig func(r metadata.ConfigResource, overrides map[string]string) error
}

// maxRecords is how many records one request may write (rule 7.4.13): all of them become one Raft entry, which is sent,
// written and applied as a whole.
const maxRecords = 10_000

const (
	// batchBytes is how large the entry of a batch may get before others wait for the next one.
	batchBytes = 1 << 20
	// maxEntryBytes bounds what one request may write: with a batch in front that is not full it is what the log takes
	// as one entry. Far below it is what a client can send in one frame; above it would be the restart of a broker with
	// a million partitions.
	maxEntryBytes = raftwal.MaxEntries - batchBytes
)

// command is one request to the controller. It holds its arguments, and after decide its results.
type command interface {
	// decide looks at the cluster as d.head has it and calls d.write for what shall change. Its error refuses the
	// request as a whole, and then nothing was written.
	decide(d *decision) error
}

// decision is a batch of commands being decided against a private copy of the applied image, each seeing those before
// it. It is pure: what it decides depends on nothing but base, the commands and the sources of chance.
type decision struct {
	rules Rules
	// index is that which the entry will have unless Raft puts another one before it. All that depends on it is the
	// epoch of a broker that this very batch registers, which nobody can have been told.
	index uint64
	head  *metadata.Image
	// records is what the batch has written, in order, and data their encoding: one Raft entry.
	records []metadata.Record
	data    []byte
	chance  *rand.Rand           // for the placement of replicas
	newID   func() metadata.UUID // for topics
}

// newDecision begins a batch on an image, for an entry with an index above that of all before it.
func newDecision(base *metadata.Image, index uint64, rules Rules, chance *rand.Rand, newID func() metadata.UUID) *decision {
	return &decision{rules: rules, index: index, head: base, chance: chance, newID: newID}
}

// write changes the head.
func (d *decision) write(records ...metadata.Record) error {
	if len(records) == 0 {
		return nil
	}
	head, err := d.head.Apply(d.index, records...)
	if err != nil {
		return err
	}
	if d.head, d.records = head, append(d.records, records...); len(d.data) == 0 {
		d.data = metadata.EncodeRecords(nil, records)
	} else {
		d.data = metadata.ExtendRecords(d.data, records)
	}
	return nil
}
