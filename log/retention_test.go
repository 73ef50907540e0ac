package log

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/log/record"
)

// retained is a log in a bubble, with segments of ten records each but for the last one.
type retained struct {
	t    *testing.T
	disk *simfs.FS
	m    *Manager
	l    *Log
	cfg  Config
	late time.Duration // what retention takes for now is so much later
}

// wait lets time pass for retention alone: nothing else is to be done every second of 1000 hours.
func (r *retained) wait(d time.Duration) { r.late += d }

func newRetained(t *testing.T, change func(*Config)) *retained {
	r := &retained{t: t, disk: simfs.New(), cfg: DefaultConfig()}
	r.disk.SetCapacity(64 << 20)
	r.cfg.SegmentBytes = 1750
	change(&r.cfg)
	r.m = openManager(t, r.disk, r.cfg, "/data")
	r.l = createLog(t, r.m, "t", 0, r.cfg)
	return r
}

// put appends n batches of one record, whose age is in the past from now on.
func (r *retained) put(n int, age time.Duration) {
	for range n {
		mustAppend(r.t, r.l, makeBatch(batchSpec{n: 1, value: 100, timestamp: time.Now().Add(-age).UnixMilli(), pid: 5, seq: r.l.nextSeq(5)}), 0)
	}
	synctest.Wait()
}

// bases returns the base offsets of the segments after retention has run with a high watermark.
func (r *retained) bases(hw int64) string {
	if err := r.l.Retain(time.Now().Add(r.late), hw); err != nil {
		r.t.Error(err)
	}
	synctest.Wait()
	var b []string
	for _, s := range r.l.segmentList() {
		b = append(b, fmt.Sprint(s.base))
	}
	return strings.Join(b, " ")
}

// files returns the names in the log's directory.
func (r *retained) files(suffix string) (names []string) {
	entries, err := r.disk.ReadDir(r.l.path)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), suffix) {
			names = append(names, e.Name())
		}
	}
	return names
}

func (r *retained) want(hw int64, want string) {
	r.t.Helper()
	if got := r.bases(hw); got != want {
		r.t.Errorf("segments %s, want %s; the log is [%d, %d)", got, want, r.l.StartOffset(), r.l.End().Offset)
	}
}

const hour = time.Hour

// TestRetention is T157's part on retention, and rules 3.6.1 to 3.6.6, on logs whose settings change while they are live.
func TestRetention(t *testing.T) {
	for name, fn := range map[string]func(t *testing.T){
		"by time":                       retentionByTime,
		"live retention.ms":             retentionLive,
		"by size":                       retentionBySize,
		"by log start, compacted":       retentionByStart,
		"future and missing timestamps": retentionOddTimes,
		"deleted files":                 retentionFiles,
	} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, fn) })
	}
}

// retentionByTime: the oldest segments go by their largest timestamp, the active one when all of it is below the high watermark (rules 3.6.1a and 3.6.2).
func retentionByTime(t *testing.T) {
	r := newRetained(t, func(c *Config) { c.RetentionMs = (10 * hour).Milliseconds() })
	defer r.m.Close(1)
	r.put(10, 12*hour)
	r.put(10, 11*hour)
	r.put(10, 9*hour)
	r.put(5, 8*hour)
	r.want(9, "0 10 20 30") // not above the high watermark (rule 3.6.2)
	r.want(35, "20 30")
	if r.l.StartOffset() != 20 {
		t.Error("the log starts at", r.l.StartOffset())
	}
	r.wait(90 * time.Minute)
	r.want(35, "30")
	r.wait(hour)
	r.want(34, "30") // the active segment goes only if it is all below the high watermark
	r.want(35, "35") // and a new one takes its place
	r.want(35, "35")
	if r.l.StartOffset() != 35 || r.l.End().Offset != 35 || r.l.Size() != 0 {
		t.Error(r.l.StartOffset(), r.l.End())
	}
	if segments, size := r.m.Removed(RemovedByTime); segments != 4 || size < 4000 {
		t.Error(segments, size)
	}
	r.put(1, 0)
	if a := r.l.ActiveProducers(nil); len(a) != 1 || a[0].LastSequence != 35 {
		t.Errorf("%+v", a)
	}
}

// retentionLive: the setting of the moment counts.
func retentionLive(t *testing.T) {
	r := newRetained(t, func(*Config) {})
	defer r.m.Close(1)
	r.put(25, hour)
	r.want(25, "0 10 20")
	forever := r.cfg
	forever.RetentionMs = NoLimit
	r.l.SetConfig(&forever)
	r.wait(1000 * hour)
	r.want(25, "0 10 20")
	r.l.SetConfig(&r.cfg)
	r.want(25, "25")
}

// retentionBySize: segments go while what is left is at least retention.bytes (rule 3.6.1b).
func retentionBySize(t *testing.T) {
	r := newRetained(t, func(c *Config) { c.RetentionMs = NoLimit })
	defer r.m.Close(1)
	r.put(35, hour)
	size := r.l.segmentList()[0].size.Load()
	for _, tc := range []struct {
		keep int64
		want string
	}{{NoLimit, "0 10 20 30"}, {r.l.Size(), "0 10 20 30"}, {r.l.Size() - size + 1, "0 10 20 30"}, {r.l.Size() - size, "10 20 30"}, {size / 2, "30"}, {0, "35"}} {
		cfg := r.cfg
		cfg.RetentionBytes = tc.keep
		r.l.SetConfig(&cfg)
		r.want(35, tc.want)
	}
	if segments, _ := r.m.Removed(RemovedBySize); segments != 4 {
		t.Error(segments)
	}
}

// retentionByStart: with compact alone only the log start counts (rules 3.6.1c and 3.6.3).
func retentionByStart(t *testing.T) {
	r := newRetained(t, func(c *Config) { c.Delete, c.Compact, c.RetentionMs, c.RetentionBytes = false, true, 0, 0 })
	defer r.m.Close(1)
	r.put(35, 100*hour)
	r.want(35, "0 10 20 30") // neither time nor size counts without delete (rule 3.6.3)
	if err := r.l.RaiseStart(19); err != nil {
		t.Fatal(err)
	}
	r.want(35, "10 20 30")
	if err := r.l.RaiseStart(35); err != nil {
		t.Fatal(err)
	}
	r.want(35, "30") // the active one stays
	if segments, _ := r.m.Removed(RemovedByStart); segments != 3 {
		t.Error(segments)
	}
}

// retentionOddTimes: timestamps in the future keep a segment, and without any its file tells the time (rules 3.6.1a and 3.6.6).
func retentionOddTimes(t *testing.T) {
	r := newRetained(t, func(c *Config) { c.RetentionMs = hour.Milliseconds() })
	defer r.m.Close(1)
	r.put(10, -1000*hour)
	r.put(10, 100*hour)
	r.want(20, "0 10") // the oldest one stays, and with it all (rule 3.6.6)
	r.wait(1001 * hour)
	r.want(20, "0 10")
	r.wait(hour)
	r.want(20, "20")
	r.late = 0
	for range 10 {
		mustAppend(t, r.l, makeBatch(batchSpec{n: 1, value: 100, timestamp: -1}), 0)
	}
	r.wait(hour / 2)
	r.want(30, "20") // by the time of the file
	r.wait(hour)
	r.want(30, "30")
}

// retentionFiles: files are renamed and stay for file.delete.delay.ms (rule 3.6.5).
func retentionFiles(t *testing.T) {
	r := newRetained(t, func(c *Config) { c.FileDeleteDelayMs = (2 * time.Minute).Milliseconds() })
	defer r.m.Close(1)
	r.put(25, 10*hour)
	s, err := r.l.Read(3, 1000, true, r.l.End())
	if err != nil {
		t.Fatal(err)
	}
	cfg := r.cfg
	cfg.RetentionMs = hour.Milliseconds()
	r.l.SetConfig(&cfg)
	r.want(25, "25")
	if got := fmt.Sprint(r.files(".log.deleted"), r.files(".snapshot.deleted")); got != "[00000000000000000000.log.deleted 00000000000000000010.log.deleted 00000000000000000020.log.deleted] [00000000000000000010.snapshot.deleted 00000000000000000020.snapshot.deleted]" {
		t.Error(got)
	}
	time.Sleep(time.Minute)
	if got := r.files(deletedSuffix); len(got) < 9 {
		t.Error("before the delay is over:", got)
	}
	time.Sleep(2 * time.Minute)
	if got := r.files(deletedSuffix); len(got) > 0 {
		t.Error("after the delay:", got)
	}
	if _, err := s.File.ReadAt(make([]byte, s.N), s.Off); err != nil {
		t.Error("a slice of a removed segment:", err)
	}
	s.Release()
}

// TestRetentionSurvives runs retention, DeleteRecords and appends in random order, and cuts the power or kills the process
// in between: nothing durable above the log start is lost, what was deleted and kept so does not come back, and the
// producer's last batch is known (rule 3.6.4).
func TestRetentionSurvives(t *testing.T) {
	for seed := range walkSeeds(15) {
		synctest.Test(t, func(t *testing.T) { retentionWalk(t, seed) })
	}
}

func retentionWalk(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 9))
	r := newRetained(t, func(c *Config) { c.FileDeleteDelayMs = 1000 })
	var all []record.Batch // batch i has offset i
	kept := int64(0)       // the log start that is promised
	r.put(1, 0)
	all = append(all, readAll(t, r.l))
	for step := range 60 {
		switch k := rnd.IntN(10); {
		case k < 5:
			for range 1 + rnd.IntN(12) {
				a := mustAppend(t, r.l, makeBatch(batchSpec{n: 1, value: 100, timestamp: time.Now().UnixMilli(), pid: 5, seq: r.l.nextSeq(5), fill: byte(step)}), 0)
				all = append(all, a.Batch)
			}
			synctest.Wait()
		case k < 7:
			cfg := r.cfg
			cfg.RetentionBytes = rnd.Int64N(6000)
			r.l.SetConfig(&cfg)
			if err := r.l.Retain(time.Now(), r.l.DurableEnd().Offset); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			kept = max(kept, r.l.segmentList()[0].base)
		case k < 8:
			if err := r.l.RaiseStart(r.l.StartOffset() + rnd.Int64N(r.l.DurableEnd().Offset-r.l.StartOffset()+1)); err != nil {
				t.Fatal(err)
			}
			if rnd.IntN(2) == 0 {
				if err := r.l.dir.KeepStarts(); err != nil {
					t.Fatal(err)
				}
				kept = r.l.StartOffset()
			}
		case k < 9:
			time.Sleep(time.Duration(rnd.IntN(1500)) * time.Millisecond)
		default:
			start, end := r.l.StartOffset(), r.l.End().Offset
			switch rnd.IntN(3) {
			case 0:
				r.disk = r.disk.Kill()
			case 1:
				r.disk = r.disk.CrashWorst()
			default:
				r.disk = r.disk.Crash(rnd.Uint64())
			}
			r.m.kill()
			r.m = openManager(t, r.disk, r.cfg, "/data")
			r.l = createLog(t, r.m, "t", 0, r.cfg)
			if got := r.l.StartOffset(); got < kept || got > start || r.l.End().Offset != end || r.l.Loss() != nil {
				t.Fatalf("seed %d, step %d: the log is [%d, %d) after a crash, [%d, %d) before, at least %d was kept; %v", seed, step, got, r.l.End().Offset, start, end, kept, r.l.Loss())
			}
			kept = r.l.StartOffset()
		}
		got, want := readAll(t, r.l), bytes.Join(asBytes(all[min(int64(len(all)), r.l.StartOffset()):]), nil)
		if !bytes.Equal(got, want) {
			t.Fatalf("seed %d, step %d: the log [%d, %d) holds %d bytes, not %d", seed, step, r.l.StartOffset(), r.l.End().Offset, len(got), len(want))
		}
		if n := len(all); n > 0 {
			last := newAppend(bytes.Clone(all[n-1]), 0)
			if err := r.l.Stage(last); err != nil || !last.Duplicate {
				t.Fatalf("seed %d, step %d: the last batch is not known: %v, duplicate %v", seed, step, err, last.Duplicate)
			}
		}
	}
	r.m.kill()
}
