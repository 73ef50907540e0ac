package log

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/log/record"
)

var cleanWrites = flag.Int("clean.writes", 30_000, "records that TestCleanerAgainstMap writes; 1000000 for the full run")

// moreWrites is how many records TestCleanerAgainstMap may write beyond those, until it has seen enough.
const moreWrites = 600_000

// stepWrites is more than a step writes.
const stepWrites = 40 * 50

// cleanedBound is what the log of TestCleanerAgainstMap may take: what is live is a twentieth of it, and the writer waits
// while it is more than half full.
const cleanedBound = 1 << 20

// TestCleanerAgainstMap writes a random history of keyed records into a log that is cleaned all the time, and compares what
// its readers see with a map: with tombstones, idempotent and transactional producers, all codecs, transactions that are
// aborted, readers in parallel, clean stops, kills, and power cuts in the middle of a swap. The log's size stays bounded.
func TestCleanerAgainstMap(t *testing.T) {
	h := newHistory(t, 20261124)
	h.start()
	// When a power cut meets a swap is the scheduler's business: it goes on until some did.
	for h.written < *cleanWrites || h.written < *cleanWrites+moreWrites && !h.tells() {
		h.step()
	}
	h.stop()
	t.Logf("%d records, %d of them live; %d passes, %d restarts, %d of them in a swap; %d reads of the whole log; at most %d bytes, %d in the end",
		h.written, len(h.model.view), h.passes, h.restarts, h.cuts, h.reads.Load(), h.largest, h.l.Size())
	if h.passes < 3 || h.restarts < 3 || h.cuts == 0 || h.reads.Load() == 0 {
		t.Error("that is too little to show anything")
	}
}

// tells reports whether there were restarts enough, and one in a swap.
func (h *history) tells() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.restarts >= 3 && h.cuts > 0 && h.reads.Load() > 0
}

// history is the writer with its model.
type history struct {
	t      *testing.T
	r      *rand.Rand
	codecs *record.Codecs
	cfg    Config
	disk   *simfs.FS
	m      *Manager
	l      *Log

	model   keyModel
	seq     map[int64]int32 // next sequence, by producer id
	written int
	value   int
	aborted []atomic.Bool // by value: readers must not see it

	dying    atomic.Bool              // from now on the disk fails
	crashed  atomic.Pointer[simfs.FS] // the disk after a power cut
	stopRead chan struct{}
	readers  sync.WaitGroup
	reads    atomic.Int64

	mu                     sync.Mutex // guards restarts and cuts
	passes, restarts, cuts int
	largest                int64
}

func newHistory(t *testing.T, seed uint64) *history {
	h := &history{t: t, r: rand.New(rand.NewPCG(seed, 1)), codecs: record.NewCodecs(), cfg: compactConfig(), disk: simfs.New(),
		model: newKeyModel(), seq: map[int64]int32{}, aborted: make([]atomic.Bool, *cleanWrites+moreWrites+stepWrites)}
	h.disk.SetCapacity(64 << 20)
	h.cfg.SegmentBytes, h.cfg.IndexIntervalBytes, h.cfg.SegmentIndexBytes = 128<<10, 1024, 4096
	h.cfg.MinCleanableDirtyRatio, h.cfg.DeleteRetentionMs = 0.3, 20
	return h
}

// start opens the log, compares it with the model, and lets cleaner and readers run.
func (h *history) start() {
	h.t.Helper()
	h.crashed.Store(nil)
	h.dying.Store(false)
	var err error
	h.m, err = Open(Options{FS: h.disk, Dirs: []string{"/data"}, Logger: quiet(), ClusterID: "c", NodeID: 1, Codecs: h.codecs})
	if err == nil {
		err = h.m.Load(context.Background(), func(TopicPartition, [16]byte) (*Config, bool) { return &h.cfg, true })
	}
	if err != nil {
		h.t.Fatal(err)
	}
	h.l = createLog(h.t, h.m, "t", 0, h.cfg)
	h.l.HighWatermarkMoved(h.l.End().Offset)
	h.model.settle(h.l.End().Offset)
	for _, changes := range h.model.pending { // the power may have taken the marker
		for _, c := range changes {
			h.aborted[c.value].Store(false)
		}
	}
	for _, pid := range slices.Sorted(maps.Keys(h.model.pending)) { // or readers would not see what lies behind
		h.end(pid, h.r.IntN(2) == 0)
	}
	waitDurable(h.t, h.l, h.l.End().Offset)
	h.l.HighWatermarkMoved(h.l.End().Offset)
	h.model.settle(h.l.End().Offset)
	h.compare()
	clear(h.seq)
	for _, p := range h.l.ActiveProducers(nil) {
		if p.LastSequence >= 0 {
			h.seq[p.ProducerID] = record.AddSequence(p.LastSequence, 1)
		}
	}
	o := DefaultCleanerOptions()
	o.Backoff, o.DedupeBytes = time.Millisecond, int64(500+h.r.IntN(4000))*mapSlotBytes // often too small for all keys
	h.m.SetCleaner(o)
	h.stopRead = make(chan struct{})
	for range 2 {
		h.readers.Go(h.read)
	}
}

// compare reads the whole log.
func (h *history) compare() {
	h.t.Helper()
	got := map[string]int{}
	err := readCommitted(h.l, h.codecs, func(r record.Record) {
		v, _ := strconv.Atoi(string(r.Value))
		if v == 0 {
			delete(got, string(r.Key))
		} else {
			got[string(r.Key)] = v
		}
	})
	if err != nil {
		h.t.Fatal(err)
	}
	if maps.Equal(got, h.model.view) {
		return
	}
	for key, v := range h.model.view {
		if got[key] != v {
			h.t.Errorf("key %s has %d, not %d", key, got[key], v)
		}
	}
	for key, v := range got {
		if _, ok := h.model.view[key]; !ok {
			h.t.Errorf("key %s has %d and is gone", key, v)
		}
	}
	h.t.FailNow()
}

// read reads the log over and over: offsets go up, and so do the values of each key; none was aborted.
func (h *history) read() {
	for {
		newest := map[string]int{}
		last := int64(-1)
		err := readCommitted(h.l, h.codecs, func(r record.Record) {
			v, _ := strconv.Atoi(string(r.Value))
			if r.Offset <= last || v > 0 && (v <= newest[string(r.Key)] || h.aborted[v].Load()) {
				h.t.Errorf("offset %d after %d: key %s has %d after %d, aborted %v", r.Offset, last, r.Key, v, newest[string(r.Key)], v > 0 && h.aborted[v].Load())
			}
			last = r.Offset
			newest[string(r.Key)] = max(v, newest[string(r.Key)])
		})
		switch {
		case err == nil:
			h.reads.Add(1)
		case h.l.Err() == nil && !h.dying.Load():
			h.t.Error(err)
		default:
			time.Sleep(time.Millisecond)
		}
		select {
		case <-h.stopRead:
			return
		default:
		}
	}
}

// step writes some batches, and now and then restarts.
func (h *history) step() {
	for range 1 + h.r.IntN(40) {
		if pid := int64(10 + h.r.IntN(3)); h.r.IntN(4) == 0 && len(h.model.inTxn(pid)) > 0 {
			h.end(pid, h.r.IntN(2) == 0)
		} else {
			h.put()
		}
		if h.dying.Load() {
			break
		}
	}
	for h.dying.Load() && h.crashed.Load() == nil {
		time.Sleep(time.Millisecond)
	}
	if h.crashed.Load() == nil {
		h.bound()
	}
	switch restart := h.r.IntN(12) == 0; {
	case h.crashed.Load() != nil:
		h.restart(h.crashed.Load())
	case restart && h.r.IntN(3) > 0:
		h.cutInSwap()
	case restart:
		h.restart(nil)
	}
}

// cutInSwap cuts the power in the middle of the next cleaning.
func (h *history) cutInSwap() {
	disk, life, seed := h.disk, h.restarts, h.r.Uint64()
	pattern := "/data/t-0/*" + [...]string{cleanedSuffix, swapSuffix}[h.r.IntN(2)]
	disk.Inject(simfs.Rule{Ops: changes, Pattern: pattern, Skip: h.r.IntN(20), Times: 1, Before: func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.restarts != life {
			return
		}
		h.cuts++
		h.dying.Store(true)
		if seed%2 == 0 {
			h.crashed.Store(disk.CrashWorst())
		} else {
			h.crashed.Store(disk.Crash(seed))
		}
	}})
}

// put appends a batch of a random producer: none, an idempotent one, or one in a transaction.
func (h *history) put() {
	e := journalEntry{}
	o := record.BuilderOptions{Codec: record.Codec(h.r.IntN(5))}
	switch h.r.IntN(3) {
	case 0:
		e.pid = int64(1 + h.r.IntN(3))
	case 1:
		e.pid, e.txn = int64(10+h.r.IntN(3)), true
	}
	if e.pid > 0 {
		o.Producer, o.Transactional = &record.Producer{ID: e.pid, BaseSequence: h.seq[e.pid]}, e.txn
	}
	b := record.NewBuilder(h.codecs, o)
	for range 1 + h.r.IntN(50) {
		c := change{key: "key-" + strconv.Itoa(h.r.IntN(3000))}
		rec := record.Record{Timestamp: time.Now().UnixMilli(), Key: []byte(c.key)}
		if h.value++; h.r.IntN(5) > 0 {
			c.value, rec.Value = h.value, strconv.AppendInt(nil, int64(h.value), 10)
		}
		h.written++
		e.changes = append(e.changes, c)
		b.Append(rec)
	}
	if o.Producer != nil {
		h.seq[e.pid] = record.AddSequence(h.seq[e.pid], int32(b.Len()))
	}
	batch, err := b.Build()
	if err != nil {
		h.t.Fatal(err)
	}
	h.append(batch, OriginClient, e)
}

// end ends a transaction.
func (h *history) end(pid int64, commit bool) {
	if !commit {
		for _, c := range h.model.inTxn(pid) {
			h.aborted[c.value].Store(c.value > 0)
		}
	}
	m := record.AppendEndTxnMarker(nil, record.EndTxnMarker{Commit: commit, ProducerID: pid, CoordinatorEpoch: 1, Timestamp: time.Now().UnixMilli()})
	h.append(m, OriginCoordinator, journalEntry{pid: pid, marker: true, commit: commit})
}

func (h *history) append(b record.Batch, origin Origin, e journalEntry) {
	a := newAppend(b, 0)
	a.Origin = origin
	err := h.l.Stage(a)
	if err == nil {
		err = h.l.Flush()
	}
	if err == nil {
		err = a.Err
	}
	if err != nil {
		if !h.dying.Load() {
			h.t.Fatal(err)
		}
		return
	}
	e.last = a.LastOffset
	for i := range e.changes {
		e.changes[i].offset = a.BaseOffset + int64(i)
	}
	h.model.journal = append(h.model.journal, e)
}

// bound waits until what was written is durable, and until the log is small.
func (h *history) bound() {
	for deadline := time.Now().Add(30 * time.Second); h.crashed.Load() == nil; time.Sleep(time.Millisecond) {
		end := h.l.DurableEnd().Offset
		h.l.HighWatermarkMoved(end)
		size := h.l.Size()
		h.largest = max(h.largest, size)
		if end == h.l.End().Offset && size < cleanedBound/2 {
			h.model.settle(end)
			if h.r.IntN(20) == 0 {
				h.m.Checkpoint()
			}
			return
		}
		h.m.Checkpoint()
		if time.Now().After(deadline) {
			h.t.Fatalf("the log has %d bytes and gets no smaller: %+v", size, h.m.CleanerStats())
		}
	}
}

// restart goes on with what a power cut left, or after a clean stop or a kill.
func (h *history) restart(left *simfs.FS) {
	h.mu.Lock()
	h.restarts++ // from now on nobody cuts the power
	left = cmp.Or(left, h.crashed.Load())
	h.mu.Unlock()
	if left == nil && h.r.IntN(2) == 0 {
		h.dying.Store(true)
		left = h.disk.Kill()
		h.crashed.Store(left)
	}
	h.halt()
	if left != nil {
		h.disk = left
	}
	h.start()
}

// halt stops cleaner, readers and log.
func (h *history) halt() {
	h.passes += int(h.m.CleanerStats().Passes)
	close(h.stopRead)
	h.readers.Wait()
	if err := h.m.Close(1); err != nil && !h.dying.Load() {
		h.t.Fatal(err)
	}
	h.disk.ClearRules()
	if h.t.Failed() {
		h.t.FailNow()
	}
}

// stop ends the history: transactions that are open are aborted, and everything is cleaned and compared.
func (h *history) stop() {
	h.disk.ClearRules()
	for h.dying.Load() && h.crashed.Load() == nil {
		time.Sleep(time.Millisecond)
	}
	if left := h.crashed.Load(); left != nil {
		h.restart(left)
	}
	for _, pid := range slices.Sorted(maps.Keys(h.model.pending)) {
		h.end(pid, false)
	}
	rollNow(h.t, h.l)
	h.bound()
	h.m.Checkpoint()
	for deadline := time.Now().Add(30 * time.Second); h.l.cleaned.Load() < h.l.active().base && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		cfg := h.cfg
		cfg.MinCleanableDirtyRatio = 0
		h.l.SetConfig(&cfg)
	}
	h.halt()
	h.disk = h.disk.Kill()
	h.start()
	h.m.cleaner.stop()
	if err := checkSegments(h.l); err != nil {
		h.t.Fatal(err)
	}
	h.halt()
	if h.largest > cleanedBound {
		h.t.Error(fmt.Errorf("the log had %d bytes, more than %d", h.largest, cleanedBound))
	}
}
