package power

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"sync"
)

// stamp says who wrote a record: the how-manieth of which producer on its partition.
type stamp struct{ producer, sequence uint64 }

// contiguous marks producers that never skip a sequence: idempotent ones, which repeat a record until it is taken.
const contiguous = 1 << 63

// A value is a stamp, filler that follows from the stamp, and a checksum of all that.
const (
	stampBytes    = 16
	checksumBytes = 4
)

// encode returns the value of a record with n bytes of filler.
func (s stamp) encode(n int) []byte {
	value := make([]byte, stampBytes+n, stampBytes+n+checksumBytes)
	binary.BigEndian.PutUint64(value, s.producer)
	binary.BigEndian.PutUint64(value[8:], s.sequence)
	filler := rand.New(rand.NewPCG(s.producer, s.sequence))
	for i := stampBytes; i < len(value); i++ {
		value[i] = byte(filler.Uint32())
	}
	return binary.BigEndian.AppendUint32(value, crc32.ChecksumIEEE(value))
}

var errDamaged = errors.New("the value is not one that a producer wrote")

func decodeStamp(value []byte) (stamp, error) {
	body := len(value) - checksumBytes
	if body < stampBytes || crc32.ChecksumIEEE(value[:body]) != binary.BigEndian.Uint32(value[body:]) {
		return stamp{}, errDamaged
	}
	return stamp{binary.BigEndian.Uint64(value), binary.BigEndian.Uint64(value[8:])}, nil
}

// partition names a partition.
type partition struct {
	topic string
	id    int32
}

// ledger is what the broker has acknowledged: by partition, the stamp at each offset.
type ledger struct {
	mu      sync.Mutex // guards all below
	acked   map[partition]map[int64]stamp
	count   int64
	refused []string // errors that no producer should ever get
}

func newLedger() *ledger { return &ledger{acked: map[partition]map[int64]stamp{}} }

// addTopic makes the ledger expect a topic, with nothing in it yet.
func (l *ledger) addTopic(topic string, partitions int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range partitions {
		l.acked[partition{topic, id}] = map[int64]stamp{}
	}
}

func (l *ledger) dropTopic(topic string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range l.acked {
		if p.topic == topic {
			delete(l.acked, p)
		}
	}
}

// ack notes an acknowledgement. One offset given to two records is an error of the broker by itself.
func (l *ledger) ack(p partition, offset int64, s stamp) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if old, ok := l.acked[p][offset]; ok {
		l.refused = append(l.refused, fmt.Sprintf("%v offset %d was acknowledged for %v and for %v", p, offset, old, s))
	}
	l.acked[p][offset] = s
	l.count++
}

// refuse notes an error that tells of lost data.
func (l *ledger) refuse(p partition, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused = append(l.refused, fmt.Sprintf("a producer to %v got: %v", p, err))
}

func (l *ledger) ackedCount() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}
