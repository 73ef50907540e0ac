package log

import (
	"time"

	"github.com/kbroker/kbroker/log/record"
)

const (
	// cachedBatches is how many of a producer's newest batches are remembered, so that a client with five requests in
	// flight gets the old offset for each it resends (rule 4.1.1).
	cachedBatches = 5
	// DefaultMaxProducers bounds the producers that one log remembers: about 20 MiB. Beyond it the producer that has
	// been idle longest is forgotten, as if it had expired (rule 4.4.1): its next batch is accepted with any sequence
	// (rule 4.2.6), so only duplicates of that producer could go unnoticed. Producers with an open transaction are
	// never forgotten. Kafka has no bound, and a client that takes a new producer id per record exhausts its heap.
	DefaultMaxProducers = 100_000
	// DefaultProducerExpiration is Kafka's default of producer.id.expiration.ms.
	DefaultProducerExpiration = 24 * time.Hour
)

// Origin says who appends, and with that which checks apply.
type Origin uint8

const (
	// OriginClient is a Produce request: every check of section 4.2.
	OriginClient Origin = iota
	// OriginCoordinator is a group or transaction coordinator on this broker, or WriteTxnMarkers: epochs are checked,
	// sequences are not (rule 4.2.8b).
	OriginCoordinator
	// OriginReplication is data that a leader, or this log before a restart, has accepted: nothing is refused (rule
	// 4.3.1).
	OriginReplication
)

// markerType is what a control batch says about a transaction.
type markerType uint8

const (
	noMarker markerType = iota // a data batch, or a control batch that ends no transaction
	abortMarker
	commitMarker
)

// producerBatch is what the producer state has to know of one batch with a producer id.
type producerBatch struct {
	ProducerID      int64
	Epoch           int16
	BaseSequence    int32
	LastOffsetDelta int32
	MaxTimestamp    int64
	Transactional   bool
	Control         bool

	// Marker and CoordinatorEpoch come from the record of a control batch.
	Marker           markerType
	CoordinatorEpoch int32

	// TxnV2 says that the batch follows transaction version 2 (KIP-890): a Produce request of version 12 or above, or a
	// marker of WriteTxnMarkers version 2 with transaction version 2.
	TxnV2 bool
	// VerifyTxn says that a transactional batch may only open a transaction under a Guard from startVerification
	// (rule 5.5.3): transaction.partition.verification.enable, for the origins client and coordinator.
	VerifyTxn bool
	Guard     TxnGuard
}

// batchMeta describes one appended batch (rule 4.1.1). The first sequence follows from the others.
type batchMeta struct {
	LastOffset  int64
	Timestamp   int64 // the batch's maximum timestamp
	LastSeq     int32
	OffsetDelta int32 // last offset − base offset
}

func (m *batchMeta) firstSeq() int32   { return subSequence(m.LastSeq, m.OffsetDelta) }
func (m *batchMeta) baseOffset() int64 { return m.LastOffset - int64(m.OffsetDelta) }

// producerEntry is the state of one producer (rule 4.1.1). It holds no pointers: a log with many producers costs the
// garbage collector nothing.
type producerEntry struct {
	id               int64
	txnFirstOffset   int64 // first offset of the open transaction, -1: none
	lastTimestamp    int64 // maximum timestamp of the newest batch, or timestamp of the newest marker
	seen             int64 // broker time in ms at which the newest batch was appended or loaded
	coordinatorEpoch int32 // of the newest marker, -1: none
	epoch            int16
	nBatches         uint8
	firstBatch       uint8 // index of the oldest in batches
	batches          [cachedBatches]batchMeta
	prev, next       int32 // neighbours in the list of idle producers, or next in the free list
}

// newest returns the newest cached batch, or nil.
func (e *producerEntry) newest() *batchMeta {
	if e.nBatches == 0 {
		return nil
	}
	return &e.batches[(e.firstBatch+e.nBatches-1)%cachedBatches]
}

// lastSeq returns the last sequence, or -1 when no batch of the epoch is known.
func (e *producerEntry) lastSeq() int32 {
	if m := e.newest(); m != nil {
		return m.LastSeq
	}
	return -1
}

func (e *producerEntry) addBatch(m batchMeta) {
	if e.nBatches < cachedBatches {
		e.nBatches++
	} else {
		e.firstBatch = (e.firstBatch + 1) % cachedBatches
	}
	*e.newest() = m
}

// setEpoch moves to epoch; batches of another one are forgotten (rule 5.7.4).
func (e *producerEntry) setEpoch(epoch int16) {
	if e.epoch != epoch {
		e.epoch, e.nBatches, e.firstBatch = epoch, 0, 0
	}
}

// duplicate returns the cached batch with exactly these sequences, or nil (rule 4.2.1).
func (e *producerEntry) duplicate(b *producerBatch) *batchMeta {
	if e.epoch != b.Epoch || b.BaseSequence < 0 {
		return nil
	}
	last := record.AddSequence(b.BaseSequence, b.LastOffsetDelta)
	for i := range e.nBatches {
		m := &e.batches[(e.firstBatch+i)%cachedBatches]
		if m.LastSeq == last && m.firstSeq() == b.BaseSequence {
			return m
		}
	}
	return nil
}

// ProducerInfo is what DescribeProducers tells of one producer (rule 5.11.3).
type ProducerInfo struct {
	ProducerID       int64
	Epoch            int16
	LastSequence     int32 // -1: none
	LastTimestamp    int64 // milliseconds since 1970
	CoordinatorEpoch int32 // -1: none
	TxnStartOffset   int64 // first offset of the open transaction, -1: none
}

// producerStateConfig are the limits of a producerState; a zero field stands for its default.
type producerStateConfig struct {
	Expiration   time.Duration // producer.id.expiration.ms
	MaxProducers int
}

// producerState is what a log knows of the producers that wrote to it (section 4): it recognises duplicates, refuses
// gaps and fenced epochs, and knows which transactions are open. It is a pure state machine without a clock: guarded
// by the log's mutex, told the time, and the same on every replica since it follows from the data alone.
//
// Batches are staged before they are written. check and update run when a batch is staged; when its write fails, undo
// takes update back, newest batch first (rule 4.2.11).
type producerState struct {
	cfg     producerStateConfig
	index   map[int64]int32 // producer id → place in entries
	entries []producerEntry
	free    int32 // first free place, -1: none
	// oldest and youngest are the ends of the list of idle producers, those without an open transaction, ordered by
	// when they were last seen: what expires or is evicted is found at its start.
	oldest, youngest int32
	// newest is the latest time that update was told: a wall clock that steps back must not unsort the list.
	newest        int64
	txns          unstableTxns
	verifications verifications
}

// newProducerState makes an empty one.
func newProducerState(cfg producerStateConfig) *producerState {
	s := &producerState{}
	s.configure(cfg)
	s.reset()
	return s
}

// configure changes the limits; they apply from the next update or expiry on.
func (s *producerState) configure(cfg producerStateConfig) {
	if cfg.Expiration <= 0 {
		cfg.Expiration = DefaultProducerExpiration
	}
	if cfg.MaxProducers <= 0 {
		cfg.MaxProducers = DefaultMaxProducers
	}
	s.cfg = cfg
}

// reset forgets everything (rule 3.8.3).
func (s *producerState) reset() {
	s.index, s.entries = make(map[int64]int32), nil
	s.free, s.oldest, s.youngest = -1, -1, -1
	s.txns, s.verifications = unstableTxns{}, verifications{}
}

// len returns the number of producers known.
func (s *producerState) len() int { return len(s.index) }

func (s *producerState) lookup(id int64) *producerEntry {
	if i, ok := s.index[id]; ok {
		return &s.entries[i]
	}
	return nil
}

// producerUndo is what undo needs to take one update back. The zero value undoes nothing.
type producerUndo struct {
	changed, created bool
	began, ended     bool          // a transaction
	after            int64         // producer id, when created
	before           producerEntry // when not created
}

// update records that batch b is appended at baseOffset, whatever check says of it, and fills u. now is the broker's
// time in milliseconds, when the batch was received or the log is loaded: expiry goes by it and not by the batch's
// timestamps, with which a producer of old data would expire at once (rule 4.4.1). When b aborts an open transaction,
// aborted is its entry for the transaction index of the segment that gets the marker.
func (s *producerState) update(b *producerBatch, baseOffset, now int64, u *producerUndo) (txn AbortedTxn, aborted bool) {
	*u = producerUndo{}
	if b.ProducerID < 0 || b.Control && b.Marker == noMarker {
		return AbortedTxn{}, false
	}
	u.changed = true
	i, ok := s.index[b.ProducerID]
	if ok {
		u.before = s.entries[i]
		s.unlink(i)
	} else {
		u.created, u.after = true, b.ProducerID
		i = s.insert(b.ProducerID, b.Epoch)
	}
	e := &s.entries[i]
	e.setEpoch(b.Epoch)
	s.newest = max(s.newest, now)
	e.lastTimestamp, e.seen = b.MaxTimestamp, s.newest
	if b.Control {
		txn, aborted = s.endTxn(e, b, baseOffset, u)
	} else {
		lastOffset := baseOffset + int64(b.LastOffsetDelta)
		e.addBatch(batchMeta{
			LastOffset: lastOffset, Timestamp: b.MaxTimestamp,
			LastSeq: record.AddSequence(b.BaseSequence, b.LastOffsetDelta), OffsetDelta: b.LastOffsetDelta,
		})
		if b.Transactional && e.txnFirstOffset < 0 {
			e.txnFirstOffset, u.began = baseOffset, true
			s.txns.begin(baseOffset, b.ProducerID)
		}
	}
	if b.Transactional {
		s.verifications.clear(b.ProducerID)
	}
	s.link(i)
	s.evict(i)
	return txn, aborted
}

// endTxn is rule 5.7.4.
func (s *producerState) endTxn(e *producerEntry, b *producerBatch, offset int64, u *producerUndo) (AbortedTxn, bool) {
	e.coordinatorEpoch = b.CoordinatorEpoch
	first := e.txnFirstOffset
	if first < 0 {
		return AbortedTxn{}, false
	}
	e.txnFirstOffset, u.ended = -1, true
	s.txns.end(first, offset)
	if b.Marker != abortMarker {
		return AbortedTxn{}, false
	}
	stable, ok := s.txns.firstOpen()
	if !ok {
		stable = offset + 1
	}
	return AbortedTxn{ProducerID: b.ProducerID, FirstOffset: first, LastOffset: offset, LastStableOffset: stable}, true
}

// undo takes back the update that filled u (rule 4.2.11). Updates are taken back newest first. A producer that was
// evicted for u's stays evicted.
func (s *producerState) undo(u *producerUndo) {
	if !u.changed {
		return
	}
	if u.created {
		if e := s.lookup(u.after); u.began && e != nil {
			s.txns.undoBegin(e.txnFirstOffset)
		}
		s.remove(u.after)
		return
	}
	i, ok := s.index[u.before.id]
	if !ok { // evicted since: there is nothing to restore that would be missed
		return
	}
	if u.began {
		s.txns.undoBegin(s.entries[i].txnFirstOffset)
	}
	if u.ended {
		s.txns.undoEnd(u.before.txnFirstOffset)
	}
	s.unlink(i)
	s.entries[i] = u.before
	s.link(i)
}

// firstUnstable returns the first offset of the oldest transaction that is open, or ended with a marker that is not
// replicated yet, and false when there is none (rule 5.8.1).
func (s *producerState) firstUnstable() (int64, bool) { return s.txns.firstUnstable() }

// onHighWatermark forgets the ended transactions whose marker lies below the high watermark (rule 5.7.5). The log start
// offset never passes it, so that a moved log start needs nothing else (rules 3.6.4 and 4.4.2).
func (s *producerState) onHighWatermark(hw int64) { s.txns.advance(hw) }

// expire forgets the producers that were not seen for the configured time and have no open transaction (rule 4.4.1),
// and returns how many there were. now is the broker's time in milliseconds.
func (s *producerState) expire(now int64) int {
	n, limit := 0, s.cfg.Expiration.Milliseconds()
	for s.oldest >= 0 && now-s.entries[s.oldest].seen >= limit {
		s.remove(s.entries[s.oldest].id)
		n++
	}
	s.verifications.expire(now - limit)
	s.shrink()
	return n
}

// describe appends what is known of each producer to dst, in no order.
func (s *producerState) describe(dst []ProducerInfo) []ProducerInfo {
	for _, i := range s.index {
		e := &s.entries[i]
		dst = append(dst, ProducerInfo{
			ProducerID: e.id, Epoch: e.epoch, LastSequence: e.lastSeq(), LastTimestamp: e.lastTimestamp,
			CoordinatorEpoch: e.coordinatorEpoch, TxnStartOffset: e.txnFirstOffset,
		})
	}
	return dst
}
