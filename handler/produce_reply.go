package handler

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/log/record"
	"github.com/kbroker/kbroker/replica"
	"github.com/kbroker/kbroker/wire"
)

// produceReply is stage two of a Produce request. It is pooled: rows keeps its capacity, and no row moves while its
// append or its acknowledgement is with a partition.
type produceReply struct {
	svc     *Service
	session *Session
	version int16
	flex    bool
	acks    int16
	// deadline counts from when the request was received (rule 6.1.8), however long replies before it wait.
	deadline time.Time
	throttle time.Duration // for how long the client is held back
	topics   []produceTopic
	rows     []produceRow
	names    []byte
	waiter   *replica.Waiter
	timer    *time.Timer
}

// keptRows bounds the rows and topics that a pooled reply keeps, keptNames the bytes of their names.
const (
	keptRows  = 64
	keptNames = 4 << 10
)

// produceRowSize is about what a row takes in bytes.
const produceRowSize = 400

func (r *produceReply) reset(c *connection, h *wire.Header, topics, rows, names int) {
	r.svc, r.session, r.version, r.flex, r.throttle = c.svc, &c.session, h.Version, h.Flexible, 0
	r.topics = slices.Grow(r.topics[:0], topics)
	r.names = slices.Grow(r.names[:0], names)
	r.rows = slices.Grow(r.rows[:0], rows)[:rows]
	for i := range r.rows {
		r.rows[i].logStart = -1
	}
	r.waiter.Drain()
}

// await turns what was flushed into acknowledgements to wait for.
func (r *produceReply) await() {
	for i := range r.rows {
		row := &r.rows[i]
		if row.staged && row.append.Err != nil {
			row.err = row.append.Err
		}
		row.produced()
		if !row.staged || row.err != nil {
			continue
		}
		if r.acks == 0 {
			continue
		}
		row.ack.Offset = row.append.LastOffset + 1
		row.awaiting = true
		row.p.Await(&row.ack, r.waiter, r.acks)
	}
}

// Done implements wire.Reply.
func (r *produceReply) Done() bool { return r.waiter.Pending() == 0 }

// Wait implements wire.Reply. After the request's timeout the rows still waiting for other replicas are
// REQUEST_TIMED_OUT; their data stays in the log and may be committed yet (rule 6.1.8).
func (r *produceReply) Wait(stop <-chan struct{}) {
	r.timer.Reset(time.Until(r.deadline))
	defer r.timer.Stop()
	for !r.Done() {
		select {
		case <-r.waiter.C:
		case <-r.timer.C:
			r.timeOut()
		case <-stop:
			r.cancel(kerr.RequestTimedOut)
		}
	}
}

// timeOut gives up on what other nodes have not acknowledged. What waits for this node's disk alone goes on: the disk
// answers or fails, and to a client with a timeout of a millisecond Kafka never says there that it is over.
func (r *produceReply) timeOut() {
	for i := range r.rows {
		if row := &r.rows[i]; row.awaiting && row.p.WaitsForOthers(r.acks) {
			row.p.Cancel(&row.ack, kerr.RequestTimedOut)
		}
	}
}

// cancel gives up on every acknowledgement that has not arrived.
func (r *produceReply) cancel(err error) {
	for i := range r.rows {
		if row := &r.rows[i]; row.awaiting {
			row.p.Cancel(&row.ack, err)
		}
	}
}

// Size implements wire.Reply.
func (r *produceReply) Size() int {
	return (len(r.rows)+len(r.topics))*produceRowSize + len(r.names)
}

// Release implements wire.Reply. It takes every partition's mutex that an acknowledgement waited for, and so comes after
// whoever is just counting one down.
func (r *produceReply) Release() {
	r.cancel(kerr.RequestTimedOut)
	svc := r.svc
	if cap(r.rows) > keptRows {
		r.rows = nil
	}
	if cap(r.topics) > keptRows {
		r.topics = nil
	}
	if cap(r.names) > keptNames {
		r.names = nil
	}
	clear(r.rows)
	clear(r.topics)
	svc.produce.p.Put(r)
}

// firstError is what closes the connection of an acks=0 producer.
func (r *produceReply) firstError() error {
	for i := range r.rows {
		if row := &r.rows[i]; row.err != nil {
			return fmt.Errorf("produce with acks=0 to partition %d: %w", row.index, row.err)
		}
	}
	return nil
}

// Append implements wire.Reply.
func (r *produceReply) Append(out *wire.Out) {
	e := encoder{out, r.flex}
	var hints leaderHints
	e.array(len(r.topics))
	for i := range r.topics {
		t := &r.topics[i]
		if r.version >= 13 {
			e.raw(t.id[:])
		} else {
			e.string(t.name)
		}
		e.array(t.n)
		for j := t.first; j < t.first+t.n; j++ {
			r.appendRow(&e, t, &r.rows[j], &hints)
		}
		e.noTags()
	}
	e.int32(throttleMillis(r.throttle))
	if r.flex {
		hints.append(&e, r.svc.deps, r.session)
	}
}

// appendRow encodes one partition. Error rows carry -1 where a success has offsets (rule 6.1.9).
func (r *produceReply) appendRow(e *encoder, t *produceTopic, row *produceRow, hints *leaderHints) {
	err := row.err
	if err == nil && row.awaiting {
		err = row.ack.Err
	}
	base, appendTime, logStart := int64(-1), int64(-1), row.logStart
	if err == nil {
		base, appendTime, logStart = row.append.BaseOffset, row.append.AppendTime, row.append.LogStartOffset
	}
	e.int32(row.index)
	n := r.svc.produceCode(err, r.version)
	r.svc.metrics.answered(keyProduce, n, 1)
	e.int16(n)
	e.int64(base)
	e.int64(appendTime)
	if r.version >= 5 {
		e.int64(logStart)
	}
	if r.version >= 8 {
		appendRecordErrors(e, err)
	}
	if !r.flex {
		return
	}
	if r.version >= 10 && errors.Is(err, kerr.NotLeaderForPartition) {
		hints.tag(e, 0, r.svc.deps, string(t.name), t.id, row.index)
		return
	}
	e.noTags()
}

// appendRecordErrors encodes record_errors and error_message (rule 2.4.11).
func appendRecordErrors(e *encoder, err error) {
	if err == nil { // before anything is declared that errors.As would make escape
		e.array(0)
		e.nullable("")
		return
	}
	var re *record.Error
	if !errors.As(err, &re) {
		e.array(0)
		e.nullable(produceMessage(err))
		return
	}
	e.array(len(re.Records))
	for _, x := range re.Records {
		e.int32(x.Index)
		e.nullable(x.Message)
		e.noTags()
	}
	e.nullable(re.Message)
}

// produceMessage is the text of an error that is more than its code, such as a full disk; empty for the others.
func produceMessage(err error) string {
	var k *kerr.Error
	if !errors.As(err, &k) || err == error(k) {
		return ""
	}
	return err.Error()
}

// produceCode is the code of an error as a version knows it (rules 0.5.1 and 4.2.2).
func (s *Service) produceCode(err error, version int16) int16 {
	if err == nil {
		return 0
	}
	n := code(err)
	if n == kerr.UnknownServerError.Code {
		s.deps.Logger.Error("produce failed", "err", err)
		// A write that failed for a reason without a code of its own is the storage's fault.
		n = kerr.KafkaStorageError.Code
	}
	if n == kerr.UnknownTopicID.Code && version < 13 {
		return kerr.UnknownTopicOrPartition.Code
	}
	return n
}
