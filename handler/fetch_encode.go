package handler

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/replica"
	"github.com/kbroker/kbroker/wire"
)

// Append implements wire.Reply.
func (r *fetchReply) Append(out *wire.Out) {
	e := encoder{out, r.flex}
	var hints leaderHints
	e.int32(throttleMillis(r.throttle))
	if r.q.version >= 7 {
		n := code(r.err)
		r.svc.metrics.answered(keyFetch, n, 1)
		e.int16(n)
		if r.err == nil && !(r.full && r.held) {
			e.int32(r.session.id)
		} else {
			e.int32(0)
		}
	}
	e.array(r.countTopics())
	for i := 0; i < len(r.results) && r.err == nil; {
		if !r.results[i].include {
			i++
			continue
		}
		i = r.appendTopic(&e, i, &hints)
	}
	switch {
	case r.flex && r.q.replicaID >= 0:
		e.noTags() // followers know the other nodes from the metadata
	case r.flex:
		hints.append(&e, r.svc.deps, &r.conn.session)
	}
}

// countTopics counts the topic entries: consecutive rows of one topic share one.
func (r *fetchReply) countTopics() (n int) {
	if r.err != nil {
		return 0
	}
	var last *fetchTopic
	for i := range r.results {
		if x := &r.results[i]; x.include && !sameFetchTopic(last, x.row.topic) {
			last = x.row.topic
			n++
		}
	}
	return n
}

func sameFetchTopic(a, b *fetchTopic) bool {
	return a == b || a != nil && b != nil && a.id == b.id && a.name == b.name
}

// appendTopic encodes the topic entry that starts at results[i] and returns the index behind it.
func (r *fetchReply) appendTopic(e *encoder, i int, hints *leaderHints) int {
	t := r.results[i].row.topic
	end, n := i, 0
	for ; end < len(r.results); end++ {
		if x := &r.results[end]; x.include {
			if !sameFetchTopic(t, x.row.topic) {
				break
			}
			n++
		}
	}
	if r.q.byID {
		e.raw(t.id[:])
	} else {
		e.text(t.name)
	}
	e.array(n)
	for ; i < end; i++ {
		if x := &r.results[i]; x.include {
			r.appendRow(e, x, hints)
		}
	}
	e.noTags()
	return end
}

// appendRow encodes one partition.
func (r *fetchReply) appendRow(e *encoder, x *rowResult, hints *leaderHints) {
	v := r.q.version
	e.int32(x.row.partition)
	n := r.svc.fetchCode(x.Err)
	r.svc.metrics.answered(keyFetch, n, 1)
	e.int16(n)
	e.int64(x.HighWatermark)
	e.int64(x.LastStableOffset)
	if v >= 5 {
		e.int64(x.LogStartOffset)
	}
	if r.q.isolation == replica.ReadCommitted && x.Err == nil && !x.Diverged {
		e.array(len(x.Aborted))
		for _, a := range x.Aborted {
			e.int64(a.ProducerID)
			e.int64(a.FirstOffset)
			e.noTags()
		}
	} else if x.missing {
		e.array(0) // Kafka's way of saying nothing here, before the log is asked
	} else {
		e.array(-1)
	}
	if v >= 11 {
		e.int32(-1) // preferred_read_replica
	}
	e.array(int(x.Records.N))
	if x.Records.N > 0 {
		e.out.Section(wire.Section{File: x.Records.File, Off: x.Records.Off, N: x.Records.N, Pin: x.Records.Pin()})
		if r.q.replicaID < 0 {
			x.row.p.Traffic().Add(replica.BytesOut, x.Records.N)
		} else {
			x.row.p.Traffic().Add(replica.ReplicationOut, x.Records.N)
		}
		x.Records = log.Slice{}
	}
	switch {
	case !r.flex:
	case x.Diverged:
		e.uvarint(1)
		e.uvarint(0)
		e.uvarint(4 + 8 + 1)
		e.int32(x.DivergedEpoch)
		e.int64(x.DivergedEnd)
		e.noTags()
	case errors.Is(x.Err, kerr.NotLeaderForPartition) || errors.Is(x.Err, kerr.FencedLeaderEpoch):
		if v >= 16 {
			hints.tag(e, 1, r.svc.deps, x.row.topic.name, x.row.topic.id, x.row.partition)
		} else {
			e.noTags()
		}
	default:
		e.noTags()
	}
}

// fetchCode is the code of a row's error. What has none of its own is the storage's fault.
func (s *Service) fetchCode(err error) int16 {
	n := code(err)
	if n == kerr.UnknownServerError.Code {
		s.deps.Logger.Error("fetch failed", "err", err)
		return kerr.KafkaStorageError.Code
	}
	return n
}
