// Package coordinator runs state machines that live on the partitions of an internal topic, such as that of consumer
// groups on __consumer_offsets.
//
// A Machine is pure: it decides, and says in Effects what is to be written and who is to be answered. The runtime does
// the rest. For every decision it guarantees, in this order: the records are appended to the machine's partition as one
// atomic batch, unless the machine lets them be parted, under the leader epoch that the machine was loaded in; they are
// then replayed to the machine; and a reply is released when the partition is committed up to where it ended when the
// reply was decided. So nobody learns of a state that a failure could take back, and what a machine holds is always what
// a replay of its log would give, plus soft state (timers, parked requests) that a new leader builds afresh (rule 8.1.2).
//
// When an append fails, or leadership is lost, the machine is dropped: what it parked is answered with the error, and a
// new machine is loaded from the log. There is no rolling back, hence a machine may change its soft state while it
// decides; only records that are too large for a batch it may have refused and take back itself (Effects.Refused).
package coordinator

import (
	"time"

	"github.com/kbroker/kbroker/log/record"
)

// Record is one record for the machine's partition. A nil Value is a tombstone.
type Record struct{ Key, Value []byte }

// Reply answers one request: with what was decided when err is nil, else with that error (a kerr value, or one that
// wraps it). It is called from any goroutine, must not block, and only its first call counts: after a fault of the
// machine there may be a second.
type Reply func(err error)

// Effects is what a decision wants done. The zero value wants nothing.
type Effects struct {
	Records []Record
	Replies []Reply // released when everything appended so far, Records included, is committed
	Soft    []Reply // released at once: heartbeats and whatever else tells only of soft state
	// Refused, when it is set, is called when the records are too large for a batch of the topic: nothing of them is
	// written, Replies and Soft get the error, and the machine takes back what it has changed, as a decision of its own.
	// Without it the machine is dropped.
	Refused func(err error, e *Effects)

	// Most is what a batch of the topic may take, in bytes; the runtime sets it. Who decides how much to write goes by it.
	Most int

	cuts []int // where the records may be parted: see Cut

	// Buf is memory to encode records in, which the runtime keeps from one decision to the next: append to it, and give
	// Append the slices. It may move meanwhile; the slices stay good.
	Buf []byte
}

// keptBuf bounds the memory that is kept in Buf, in bytes.
const keptBuf = 64 << 10

// reset makes e ready for another decision.
func (e *Effects) reset() {
	clear(e.Records)
	clear(e.Replies)
	clear(e.Soft)
	if cap(e.Buf) > keptBuf {
		e.Buf = nil
	}
	*e = Effects{Records: e.Records[:0], Replies: e.Replies[:0], Soft: e.Soft[:0], cuts: e.cuts[:0], Buf: e.Buf[:0]}
}

// Append wants a record written.
func (e *Effects) Append(key, value []byte) {
	e.Records = append(e.Records, Record{Key: key, Value: value})
}

// Cut says that what has been appended so far makes sense without what follows. Records that are too large for one batch
// are parted at cuts, and a failure of the node may leave the first batches of them; nobody has been answered then. Without
// a cut records are written all or not at all.
func (e *Effects) Cut() {
	if n := len(e.Records); n > 0 && (len(e.cuts) == 0 || e.cuts[len(e.cuts)-1] != n) {
		e.cuts = append(e.cuts, n)
	}
}

// Pieces returns the records as Cut has parted them: in one piece if there is no cut. It is for tests, which take the part
// of the runtime.
func (e *Effects) Pieces() [][]Record {
	var pieces [][]Record
	from := 0
	for _, at := range append(e.cuts, len(e.Records)) {
		if at > from {
			pieces = append(pieces, e.Records[from:at])
		}
		from = at
	}
	return pieces
}

// Fits reports whether records of n bytes, keys and values together, may be written as one batch.
func (e *Effects) Fits(records, n int) bool {
	return e.Most == 0 || record.HeaderSize+records*recordOverhead+n <= e.Most
}

// Answer wants a reply released when the log is committed up to here.
func (e *Effects) Answer(r Reply) { e.Replies = append(e.Replies, r) }

// AnswerNow wants a reply released without waiting.
func (e *Effects) AnswerNow(r Reply) { e.Soft = append(e.Soft, r) }

// Replayed is one record of the partition's log, as a machine sees it while loading and after each of its appends.
// Key and Value are valid during the call only.
type Replayed struct {
	Key, Value []byte
	Offset     int64
	Timestamp  int64 // milliseconds since 1970, of the record
	// ProducerID is that of a transactional batch, whose records are pending until its marker (rule 8.6.4); -1 without.
	ProducerID    int64
	ProducerEpoch int16
}

// Machine is the state of one partition. The runtime calls its methods one at a time.
type Machine interface {
	// Replay applies a record that is in the log. Key types that the machine does not know are skipped (rule 8.6.1).
	Replay(r *Replayed) error
	// ReplayMarker ends the transaction of a producer: what is pending becomes current, or is dropped (rule 8.4.12).
	ReplayMarker(producerID int64, producerEpoch int16, commit bool)
	// Loaded is called once, after everything in the log has been replayed: timers start here, in full (rule 8.3.13).
	Loaded(now time.Time, e *Effects)
	// Deadline is when Tick wants to be called next; zero for never.
	Deadline() time.Time
	// Tick does what is due. It bounds the records of one call; what is left stays due.
	Tick(now time.Time, e *Effects)
	// Unload answers everything that is parked with err. The machine is not used afterwards.
	Unload(err error)
}
