package log

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/log/record"
)

// walkBatch is a batch as it must be in a log.
type walkBatch struct {
	base, last int64
	leader     int32
	bytes      []byte
}

// walkLog is what a log of the walk must hold: a list of batches, of which a power cut may take those that were not durable.
type walkLog struct {
	partition int32
	cfg       Config
	l         *Log
	batches   []walkBatch
	leader    int32
	seq       int32
	// durable is the largest DurableEnd that was seen; it is the promise.
	durable int64
	// written says that all of batches was written, so that a kill takes nothing.
	written bool
	// ghosts are batches whose write failed. A power cut may bring them back where nothing else is durable: the write got
	// through, and its removal did not.
	ghosts []walkBatch
	// starts are the offsets at which the log may begin while it is empty: more than one after a crash in the middle of a
	// restart.
	starts []int64
}

func (g *walkLog) end() int64 {
	if len(g.batches) == 0 {
		return g.starts[len(g.starts)-1]
	}
	return g.batches[len(g.batches)-1].last + 1
}

// powerWalk does random things to a few logs, cuts the power or kills the process at random moments, and compares what
// is there afterwards with the model.
type powerWalk struct {
	r       *rand.Rand
	disk    *simfs.FS
	m       *Manager
	logs    []*walkLog
	crashed atomic.Pointer[simfs.FS] // the disk after a crash in the middle of an operation
	mu      sync.Mutex               // makes crashes exclude each other
	process int                      // counts them
	broken  error                    // found in the middle of a step
	trace   []string
}

func newPowerWalk(seed uint64, tweak func(*simfs.FS)) *powerWalk {
	w := &powerWalk{r: rand.New(rand.NewPCG(seed, 77)), disk: simfs.New()}
	w.disk.SetCapacity(8 << 20) // a small disk has a small reserve, and is quick to copy
	if w.r.IntN(2) == 0 {
		w.disk.SetOwnMount("/data", true)
	}
	if tweak != nil {
		tweak(w.disk)
	}
	for p := range int32(1 + w.r.IntN(6)) {
		cfg := DefaultConfig()
		cfg.SegmentBytes = int32(1500 + w.r.IntN(4000))
		cfg.IndexIntervalBytes = int32(100 + w.r.IntN(600))
		cfg.SegmentIndexBytes = int32(120 + w.r.IntN(400))
		if w.r.IntN(4) == 0 {
			cfg.Durability = Replicated
		}
		w.logs = append(w.logs, &walkLog{partition: p, cfg: cfg, starts: []int64{0}})
	}
	return w
}

func (w *powerWalk) note(format string, a ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, a...))
}

// open starts the process on the disk and checks every log against its model.
func (w *powerWalk) open(killed bool) error {
	var err error
	w.crashed.Store(nil)
	w.m, err = Open(Options{FS: w.disk, Dirs: []string{"/data"}, Logger: quiet(), ClusterID: "c", NodeID: 1, Codecs: record.NewCodecs()})
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	err = w.m.Load(context.Background(), func(tp TopicPartition, _ [16]byte) (*Config, bool) { return &w.logs[tp.Partition].cfg, true })
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	for _, g := range w.logs {
		tp := TopicPartition{"t", g.partition}
		if g.l, err = w.m.Create(tp, testTopicID, &g.cfg); err != nil {
			return err
		}
		if err := w.check(g, killed); err != nil {
			return fmt.Errorf("log %s: %w", tp, err)
		}
	}
	return nil
}

// check compares a log with its model after a start, and takes what is there as the model.
func (w *powerWalk) check(g *walkLog, killed bool) error {
	l := g.l
	if loss := l.Loss(); loss != nil {
		return fmt.Errorf("reports a loss: %s", loss)
	}
	end := l.End().Offset
	if end < g.durable {
		return fmt.Errorf("ends at %d, but %d was durable", end, g.durable)
	}
	if killed && g.written && end != g.end() {
		return fmt.Errorf("ends at %d after a kill, but %d was written", end, g.end())
	}
	if l.DurableEnd().Offset != end {
		return fmt.Errorf("is durable up to %d of %d after a start", l.DurableEnd().Offset, end)
	}
	data, err := tryReadAll(l)
	if err != nil {
		return err
	}
	n := 0
	for len(data) > 0 {
		if n == len(g.batches) || !bytes.HasPrefix(data, g.batches[n].bytes) {
			g.takeGhost(n, data)
		}
		if n == len(g.batches) {
			return fmt.Errorf("holds %d bytes more than was written", len(data))
		}
		b := g.batches[n]
		if !bytes.HasPrefix(data, b.bytes) {
			got := record.Batch(data)
			return fmt.Errorf("batch %d of epoch %d, offsets %d to %d, %d bytes, is not what was written, but one of epoch %d, offsets %d to %d, %d bytes", n,
				b.leader, b.base, b.last, len(b.bytes), got.PartitionLeaderEpoch(), got.BaseOffset(), got.LastOffset(), got.Size())
		}
		if got := l.EpochForOffset(b.base); got != b.leader {
			return fmt.Errorf("offset %d has epoch %d, not %d: %v", b.base, got, b.leader, l.epochs.Entries())
		}
		data = data[len(b.bytes):]
		n++
	}
	if n == 0 && !slices.Contains(g.starts, end) {
		return fmt.Errorf("is empty but ends at %d", end)
	}
	g.batches = g.batches[:n]
	if n > 0 && end != g.end() {
		return fmt.Errorf("ends at %d, its last batch at %d", end, g.end())
	}
	g.starts, g.durable, g.written = []int64{l.StartOffset()}, end, true
	return w.checkProducer(g)
}

// takeGhost makes a failed batch that data begins with the model's batch n, if that one was not durable.
func (g *walkLog) takeGhost(n int, data []byte) {
	for _, b := range g.ghosts {
		if b.base >= g.durable && bytes.HasPrefix(data, b.bytes) {
			g.batches = append(g.batches[:n:n], b)
			return
		}
	}
}

// checkProducer checks that the producer's last batch is known (T154), and goes on where it ended.
func (w *powerWalk) checkProducer(g *walkLog) error {
	if len(g.batches) == 0 {
		g.seq = 0
		return nil
	}
	last := record.Batch(g.batches[len(g.batches)-1].bytes)
	g.seq = record.AddSequence(last.LastSequence(), 1)
	a := newAppend(bytes.Clone(last), g.leader)
	if err := g.l.Stage(a); err != nil {
		return fmt.Errorf("resend of the last batch: %w", err)
	}
	if !a.Duplicate || a.BaseOffset != last.BaseOffset() {
		return fmt.Errorf("resend of the last batch: duplicate %v, offset %d instead of %d", a.Duplicate, a.BaseOffset, last.BaseOffset())
	}
	return nil
}

// run does steps and returns what is wrong.
func (w *powerWalk) run(steps int) error {
	if err := w.open(false); err != nil {
		return err
	}
	for range steps {
		g := w.logs[w.r.IntN(len(w.logs))]
		switch k := w.r.IntN(100); {
		case k < 60:
			w.appendSome(g)
		case k < 66:
			w.truncate(g)
		case k < 68:
			w.restart(g)
		case k < 74:
			w.m.Checkpoint()
		case k < 80:
			w.settle(g)
		case k < 86:
			w.crashLater()
		case k < 89:
			w.fault()
		case k < 93:
			if err := w.stopCleanly(); err != nil {
				return err
			}
		default:
			if err := w.crash(); err != nil {
				return err
			}
		}
		if w.crashed.Load() == nil && w.m.dirs[0].State() == DirFull && w.r.IntN(3) == 0 {
			w.mend()
		}
		switch {
		case w.broken != nil:
			return w.broken
		case w.crashed.Load() != nil:
			if err := w.afterCrash(); err != nil {
				return err
			}
		case w.m.dirs[0].State() == DirFailed:
			w.note("failed: %v", w.m.dirs[0].failure())
			w.distrust()
			if err := w.crash(); err != nil {
				return err
			}
		}
	}
	w.m.kill()
	return nil
}

// TestPowerWalk checks over seeded histories that no power cut, at any moment, takes what DurableEnd promised, that a
// kill takes nothing that was written, and that what is left is a prefix of what was written, with its indexes, epochs and
// producers.
func TestPowerWalk(t *testing.T) {
	seeds := walkSeeds(150)
	if testing.Short() {
		seeds = 30
	}
	for seed := range seeds {
		w := newPowerWalk(seed, nil)
		if err := w.run(60); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, lines(w.trace))
		}
	}
}

func lines(trace []string) string {
	var b bytes.Buffer
	for _, s := range trace[max(0, len(trace)-25):] {
		fmt.Fprintln(&b, s)
	}
	return b.String()
}

// TestPowerWalkControls is the negative control: with syncs that do nothing the walk must find lost data.
func TestPowerWalkControls(t *testing.T) {
	for name, tweak := range map[string]func(*simfs.FS){
		"no sync":           func(d *simfs.FS) { d.SetSyncNoop(true) },
		"no directory sync": func(d *simfs.FS) { d.SetSyncDirNoop(true) },
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(40) {
				if err := newPowerWalk(seed, tweak).run(60); err != nil {
					return
				}
			}
			t.Error("not noticed in 40 histories")
		})
	}
}

// walkSeeds returns the number of histories, more of them on request: KBROKER_WALKS=5000 go test -run PowerWalk ./log
func walkSeeds(n uint64) uint64 {
	if v, err := strconv.ParseUint(os.Getenv("KBROKER_WALKS"), 10, 64); err == nil {
		return v
	}
	return n
}
