package log

import (
	"cmp"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// appended is one batch in a modelLog.
type appended struct {
	producerBatch
	base, last, at int64
}

// modelLog is the naive producer state: it keeps every batch and answers each question from all of them.
type modelLog struct {
	batches []appended
	// forgotten says how many batches there were when a producer was last forgotten.
	forgotten map[int64]int
	hw        int64
}

func (m *modelLog) end() int64 {
	if len(m.batches) == 0 {
		return 0
	}
	return m.batches[len(m.batches)-1].last + 1
}

// of is what the model derives about one producer.
type of struct {
	known            bool
	epoch            int16
	batches          []appended // of the epoch, oldest first
	coordinatorEpoch int32
	timestamp, seen  int64
	txnFirst         int64
}

func (m *modelLog) producer(id int64) of {
	p := of{coordinatorEpoch: -1, txnFirst: -1}
	for i, b := range m.batches {
		if b.ProducerID != id || i < m.forgotten[id] {
			continue
		}
		if p.known && p.epoch != b.Epoch {
			p.batches = nil
		}
		p.known, p.epoch, p.timestamp, p.seen = true, b.Epoch, b.MaxTimestamp, b.at
		if b.Control {
			p.coordinatorEpoch, p.txnFirst = b.CoordinatorEpoch, -1
			continue
		}
		p.batches = append(p.batches, b)
		if b.Transactional && p.txnFirst < 0 {
			p.txnFirst = b.base
		}
	}
	return p
}

// sequence arithmetic as the rule says it, with 64 bits and a remainder.
func (b *appended) lastSeq() int64 {
	return (int64(b.BaseSequence) + int64(b.LastOffsetDelta)) % (1 << 31)
}

// verdict is what check has to say, as an error; errDuplicate with the offset for a duplicate.
var errDuplicate = errors.New("duplicate")

func (m *modelLog) verdict(b *producerBatch, origin Origin) (int64, error) {
	p := m.producer(b.ProducerID)
	if b.Control {
		switch {
		case p.known && (b.Epoch < p.epoch || b.TxnV2 && p.txnFirst >= 0 && b.Epoch == p.epoch):
			return 0, kerr.InvalidProducerEpoch
		case p.known && b.CoordinatorEpoch < p.coordinatorEpoch:
			return 0, kerr.TransactionCoordinatorFenced
		}
		return 0, nil
	}
	offered := appended{producerBatch: *b}
	if origin == OriginClient && p.known && b.Epoch == p.epoch {
		for _, old := range p.batches[max(0, len(p.batches)-5):] {
			if old.BaseSequence == b.BaseSequence && old.lastSeq() == offered.lastSeq() {
				return old.base, errDuplicate
			}
		}
	}
	if p.known && b.Epoch < p.epoch {
		return 0, kerr.InvalidProducerEpoch
	}
	if origin == OriginClient {
		next := int64(0)
		if p.known && b.Epoch == p.epoch && len(p.batches) > 0 {
			next = (p.batches[len(p.batches)-1].lastSeq() + 1) % (1 << 31)
		}
		any := !p.known && !(b.Transactional && b.TxnV2)
		if !any && int64(b.BaseSequence) != next {
			return 0, kerr.OutOfOrderSequenceNumber
		}
	}
	if p.txnFirst >= 0 && !b.Transactional {
		return 0, kerr.InvalidTxnState
	}
	return 0, nil
}

// txnSpan is a transaction as the model finds it in the log.
type txnSpan struct{ first, marker int64 }

// txns returns all transactions in the order of their first offsets.
func (m *modelLog) txns() []txnSpan {
	open := make(map[int64]int)
	var spans []txnSpan
	for _, b := range m.batches {
		if !b.Transactional {
			continue
		}
		at, isOpen := open[b.ProducerID]
		switch {
		case b.Control && isOpen:
			spans[at].marker = b.base
			delete(open, b.ProducerID)
		case !b.Control && !isOpen:
			open[b.ProducerID] = len(spans)
			spans = append(spans, txnSpan{b.base, -1})
		}
	}
	return spans
}

func (m *modelLog) firstUnstable() (int64, bool) {
	for _, s := range m.txns() {
		if s.marker < 0 || s.marker >= m.hw {
			return s.first, true
		}
	}
	return 0, false
}

// walk is one random history of a producerState beside the model.
type walk struct {
	t     *testing.T
	r     *rand.Rand
	s     *producerState
	m     modelLog
	undos []producerUndo // of the staged batches, which are the last of m.batches
	now   int64
}

const walkProducers = 6

// draw makes a batch that is right, nearly right or wrong.
func (w *walk) draw() producerBatch {
	id := w.r.Int64N(walkProducers)
	p := w.m.producer(id)
	b := producerBatch{
		ProducerID: id, Epoch: p.epoch, LastOffsetDelta: w.r.Int32N(4), MaxTimestamp: w.r.Int64N(1000),
		Transactional: p.txnFirst >= 0, TxnV2: w.r.IntN(4) == 0,
	}
	if len(p.batches) > 0 {
		b.BaseSequence = int32((p.batches[len(p.batches)-1].lastSeq() + 1) % (1 << 31))
	} else if !p.known && w.r.IntN(2) == 0 {
		b.BaseSequence = math.MaxInt32 - w.r.Int32N(10)
	}
	switch w.r.IntN(10) {
	case 0, 1: // a resend
		if n := len(p.batches); n > 0 {
			old := p.batches[max(0, n-1-w.r.IntN(7))]
			b.BaseSequence, b.LastOffsetDelta = old.BaseSequence, old.LastOffsetDelta
		}
	case 2:
		b.BaseSequence = w.r.Int32N(5)
	case 3:
		b.Epoch += int16(w.r.IntN(3)) - 1
	case 4:
		b.Epoch++
		b.BaseSequence = 0
	case 5:
		b.Transactional = !b.Transactional
	case 6, 7:
		b.Control, b.Transactional, b.Marker, b.BaseSequence, b.LastOffsetDelta = true, true, abortMarker, -1, 0
		if w.r.IntN(2) == 0 {
			b.Marker = commitMarker
		}
		b.Epoch += int16(w.r.IntN(3)) - w.r16(4)
		b.CoordinatorEpoch = max(p.coordinatorEpoch, 0) + w.r.Int32N(3) - 1
	}
	b.Epoch = max(b.Epoch, 0)
	b.CoordinatorEpoch = max(b.CoordinatorEpoch, 0)
	return b
}

// r16 is 1 once in n.
func (w *walk) r16(n int) int16 {
	if w.r.IntN(n) == 0 {
		return 1
	}
	return 0
}

// offer checks a batch and stages it when it is accepted, or comes from a leader.
func (w *walk) offer() {
	b, origin := w.draw(), Origin(w.r.IntN(3))
	if w.r.IntN(3) > 0 {
		origin = OriginClient
	}
	dup, isDup, err := w.s.check(&b, origin)
	wantOffset, want := w.m.verdict(&b, origin)
	if origin == OriginReplication {
		want = nil
	}
	if isDup {
		err = errDuplicate
		if dup.baseOffset() != wantOffset {
			w.t.Fatalf("%+v: duplicate of %d, not of %d", b, dup.baseOffset(), wantOffset)
		}
	}
	if !errors.Is(err, want) || (err == nil) != (want == nil) {
		w.t.Fatalf("%+v from %d: %v, not %v", b, origin, err, want)
	}
	if err != nil {
		return
	}
	open, stable := w.m.producer(b.ProducerID).txnFirst, int64(-1)
	w.undos = append(w.undos, producerUndo{})
	base := w.m.end()
	txn, aborted := w.s.update(&b, base, w.now, &w.undos[len(w.undos)-1])
	w.m.batches = append(w.m.batches, appended{b, base, base + int64(b.LastOffsetDelta), w.now})
	if wantAborted := b.Marker == abortMarker && open >= 0; aborted != wantAborted {
		w.t.Fatalf("%+v: aborted %v", b, aborted)
	}
	if aborted {
		stable = base + 1
		for _, s := range w.m.txns() {
			if s.marker < 0 {
				stable = s.first
				break
			}
		}
		if want := (AbortedTxn{b.ProducerID, open, base, stable}); txn != want {
			w.t.Fatalf("aborted %+v, not %+v", txn, want)
		}
	}
}

// fail takes the last n staged batches back.
func (w *walk) fail(n int) {
	for range n {
		last := len(w.undos) - 1
		w.s.undo(&w.undos[last])
		w.undos = w.undos[:last]
		w.m.batches = w.m.batches[:len(w.m.batches)-1]
	}
}

// reload replaces the state by one that was rebuilt from a snapshot at a random batch and the batches after it.
func (w *walk) reload() {
	var short *producerState
	s := newProducerState(w.s.cfg)
	cut := w.r.IntN(len(w.m.batches) + 1)
	for i, b := range w.m.batches {
		if i == cut {
			entries, err := decodeSnapshot(encodeSnapshot(s.snapshot()))
			if err != nil {
				w.t.Fatal(err)
			}
			short = newProducerState(w.s.cfg)
			short.load(entries, b.at)
		}
		s.update(&b.producerBatch, b.base, b.at, &producerUndo{})
		if short != nil {
			short.update(&b.producerBatch, b.base, b.at, &producerUndo{})
		}
	}
	if short != nil && !slices.Equal(short.snapshot(), s.snapshot()) {
		w.t.Fatalf("replay from a snapshot at %d of %d gives\n%+v, from the start\n%+v", cut, len(w.m.batches), short.snapshot(), s.snapshot())
	}
	clear(w.m.forgotten)
	s.onHighWatermark(w.m.hw)
	w.s = s
}

func (w *walk) expire() {
	limit := w.s.cfg.Expiration.Milliseconds()
	for id := range int64(walkProducers) {
		if p := w.m.producer(id); p.known && p.txnFirst < 0 && w.now-p.seen >= limit {
			w.m.forgotten[id] = len(w.m.batches)
		}
	}
	w.s.expire(w.now)
}

// compare looks at everything.
func (w *walk) compare() {
	var want []SnapshotEntry
	var infos []ProducerInfo
	for id := range int64(walkProducers) {
		p := w.m.producer(id)
		if !p.known {
			continue
		}
		e := SnapshotEntry{id, p.epoch, -1, -1, 0, p.timestamp, p.coordinatorEpoch, p.txnFirst}
		if n := len(p.batches); n > 0 {
			b := p.batches[n-1]
			e.LastSequence, e.LastOffset, e.OffsetDelta = int32(b.lastSeq()), b.last, b.LastOffsetDelta
		}
		want = append(want, e)
		infos = append(infos, ProducerInfo{id, p.epoch, e.LastSequence, p.timestamp, p.coordinatorEpoch, p.txnFirst})
	}
	if got := w.s.snapshot(); !slices.Equal(got, want) {
		w.t.Fatalf("state\n%+v, not\n%+v", got, want)
	}
	got := w.s.describe(nil)
	slices.SortFunc(got, func(a, b ProducerInfo) int { return cmp.Compare(a.ProducerID, b.ProducerID) })
	if !slices.Equal(got, infos) {
		w.t.Fatalf("described as\n%+v, not\n%+v", got, infos)
	}
	first, unstable := w.s.firstUnstable()
	if wantFirst, want := w.m.firstUnstable(); first != wantFirst || unstable != want {
		w.t.Fatalf("first unstable offset %d %v, not %d %v; high watermark %d, %+v, not %v", first, unstable, wantFirst, want, w.m.hw, w.s.txns, w.m.txns())
	}
}

// TestProducerStateWalk compares random histories with the model: staged and failed batches, high watermarks, expiry,
// restarts from snapshots.
func TestProducerStateWalk(t *testing.T) {
	for seed := range uint64(150) {
		w := &walk{t: t, r: rand.New(rand.NewPCG(seed, 4)), m: modelLog{forgotten: make(map[int64]int)}}
		w.s = newProducerState(producerStateConfig{Expiration: 50 * time.Millisecond})
		for range 300 {
			w.now += w.r.Int64N(3)
			switch w.r.IntN(20) {
			case 0:
				w.fail(w.r.IntN(len(w.undos) + 1))
			case 1, 2: // written
				w.undos = w.undos[:0]
			case 3, 4:
				if written := len(w.m.batches) - len(w.undos); written > 0 {
					w.m.hw = max(w.m.hw, w.m.batches[w.r.IntN(written)].last+1)
					w.s.onHighWatermark(w.m.hw)
				}
			case 5:
				if len(w.undos) == 0 {
					w.expire()
				}
			case 6:
				if w.r.IntN(8) == 0 {
					w.undos = w.undos[:0]
					w.reload()
				}
			default:
				w.offer()
			}
			w.compare()
		}
	}
}
