// Package coordinator runs state machines that live on the partitions of an internal topic: consumer groups on
// __consumer_offsets, later transactions on __transaction_state.
//
// A Machine is pure: it decides, and says in Effects what is to be written and who is to be answered. The runtime does
// the rest. For every decision it guarantees, in this order: the records are appended to the machine's partition as one
// atomic batch under the leader epoch that the machine was loaded in; they are then replayed to the machine; and a reply
// is released when the partition is committed up to where it ended when the reply was decided. So nobody learns of a
// state that a failure could take back, and what a machine holds is always what a replay of its log would give, plus
// soft state (timers, parked requests) that a new leader builds afresh (rule 8.1.2 and rule 1 of the design).
//
// When an append fails, or leadership is lost, the machine is dropped: what it parked is answered with the error, and a
// new machine is loaded from the log. There is no rolling back, hence a machine may change its soft state while it
// decides.
package coordinator

import "time"

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

	// Loose says that the records need not be one batch: when they are too large for that, they become several, of which
	// a failure may leave the first.
	Loose bool

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
	*e = Effects{Records: e.Records[:0], Replies: e.Replies[:0], Soft: e.Soft[:0], Buf: e.Buf[:0]}
}

// Append wants a record written.
func (e *Effects) Append(key, value []byte) {
	e.Records = append(e.Records, Record{Key: key, Value: value})
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
