package log

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/log/record"
)

// follow copies what the follower lacks from the leader as a fetcher does, in fetches of at most max bytes that may cut
// a batch, after it cut its own log where the two diverge (rule 6.3.6).
func follow(t testing.TB, leader, follower *Log, max int32) {
	t.Helper()
	for range 100 {
		if follower.End().Offset < leader.StartOffset() || leader.End().Offset < follower.StartOffset() {
			if err := follower.TruncateFullyAndStartAt(leader.StartOffset()); err != nil {
				t.Fatal(err)
			}
		}
		if last, ok := follower.LatestEpoch(); ok && follower.End().Offset > follower.StartOffset() {
			epoch, end := leader.EndOffsetForEpoch(last.Epoch)
			if epoch < last.Epoch || end < follower.End().Offset {
				_, own := follower.EndOffsetForEpoch(epoch)
				if own < 0 {
					own = end
				}
				if err := follower.TruncateTo(min(end, own, follower.End().Offset)); err != nil {
					t.Fatal(err)
				}
				continue
			}
		}
		s, err := leader.Read(follower.End().Offset, max, true, leader.End())
		if err != nil {
			t.Fatal(err)
		}
		if s.N == 0 {
			return
		}
		data := make([]byte, s.N)
		if _, err := s.File.ReadAt(data, s.Off); err != nil {
			t.Fatal(err)
		}
		s.Release()
		// The first batch may begin below the follower's end when its end is no batch boundary of the leader's.
		for record.Batch(data).BaseOffset() < follower.End().Offset {
			_, rest, err := record.Next(data)
			if err != nil {
				t.Fatal(err)
			}
			data = rest
		}
		res, err := follower.AppendAsFollower(data)
		if err != nil {
			t.Fatal(err)
		}
		if res.Batches > 0 && res.LastOffset+1 != follower.End().Offset {
			t.Fatalf("%+v, but the log ends at %d", res, follower.End().Offset)
		}
	}
	t.Fatal("the follower does not catch up")
}

// TestFollowerCopies has two replicas take turns as leader. The new leader may lack what the old one wrote last; the old
// one then cuts that off, copies, and in the end both are equal byte for byte, with their epochs, producers and indexes.
func TestFollowerCopies(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 3))
		cfg := DefaultConfig()
		cfg.SegmentBytes, cfg.IndexIntervalBytes = int32(1500+r.IntN(3000)), 200
		m := openManager(t, simfs.New(), cfg, "/a")
		logs := [2]*Log{createLog(t, m, "t", 0, cfg), createLog(t, m, "t", 1, cfg)}
		for epoch := range int32(12) {
			leader, follower := logs[epoch%2], logs[1-epoch%2]
			if err := errors.Join(leader.BecomeLeader(epoch), follower.BecomeFollower(epoch)); err != nil {
				t.Fatal(err)
			}
			write := func() {
				for range r.IntN(15) {
					b := makeBatch(batchSpec{n: 1 + r.Int32N(5), value: r.IntN(200), timestamp: r.Int64N(1000), pid: 4, seq: leader.nextSeq(4), fill: byte(r.Uint32())})
					mustAppend(t, leader, b, epoch)
				}
			}
			write()
			follow(t, leader, follower, int32(100+r.IntN(3000)))
			if !bytes.Equal(readAll(t, leader), readAll(t, follower)) {
				t.Fatalf("seed %d, epoch %d: the replicas differ", seed, epoch)
			}
			if l, f := leader.nextSeq(4), follower.nextSeq(4); l != f {
				t.Fatalf("seed %d, epoch %d: the next sequence is %d on the leader and %d on the follower", seed, epoch, l, f)
			}
			for at := range leader.End().Offset {
				if l, f := leader.EpochForOffset(at), follower.EpochForOffset(at); l != f {
					t.Fatalf("seed %d: the epoch of offset %d is %d on the leader and %d on the follower", seed, at, l, f)
				}
			}
			checkIndexes(t, follower)
			write() // what the follower will not have when it takes over
		}
		if err := m.Close(1); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFollowerRefuses checks what AppendAsFollower does with bytes that are no continuation of the log.
func TestFollowerRefuses(t *testing.T) {
	cfg := DefaultConfig()
	m := openManager(t, simfs.New(), cfg, "/a")
	defer m.Close(1)
	l := createLog(t, m, "t", 0, cfg)
	batch := func(base int64) record.Batch {
		return makeBatch(batchSpec{base: base, n: 3, value: 5, timestamp: 1, leader: 2})
	}
	two := append(bytes.Clone(batch(0)), batch(3)...)
	if res, err := l.AppendAsFollower(two[:len(two)-1]); err != nil || res.Batches != 1 || l.End().Offset != 3 {
		t.Fatal("a cut batch:", res, err)
	}
	flipped := bytes.Clone(batch(3))
	flipped[len(flipped)-1] ^= 1
	for name, tc := range map[string]struct {
		data []byte
		want error
	}{
		"below the end":      {batch(2), kerr.OffsetOutOfRange},
		"a flipped bit":      {flipped, kerr.CorruptMessage},
		"descending offsets": {append(bytes.Clone(batch(10)), batch(5)...), kerr.CorruptMessage},
		"no batch":           {make([]byte, 100), kerr.CorruptMessage},
		"garbage behind one": {append(bytes.Clone(batch(3)), make([]byte, 100)...), kerr.CorruptMessage},
	} {
		if res, err := l.AppendAsFollower(tc.data); !errors.Is(err, tc.want) || res.Batches != 0 || l.End().Offset != 3 {
			t.Errorf("%s: %+v, %v", name, res, err)
		}
	}
	// A gap is legal: the leader's log may be compacted (rule 2.1.3).
	if res, err := l.AppendAsFollower(batch(100)); err != nil || res.FirstOffset != 100 || l.End().Offset != 103 {
		t.Error(res, err)
	}
	// So is an offset that is too far for the segment (rule 3.4.1d).
	far := int64(103 + 1<<31)
	if res, err := l.AppendAsFollower(batch(far)); err != nil || res.LastOffset != far+2 || l.SegmentCount() != 2 {
		t.Error(res, err, l.SegmentCount())
	}
	if s, err := l.Read(50, 1000, true, l.End()); err != nil || s.FirstOffset != 100 {
		t.Error("a read in the gap:", s, err)
	} else {
		s.Release()
	}
}

// TestFencing checks that a deposed leader's append is refused under the log's own lock (rule 3.4.6).
func TestFencing(t *testing.T) {
	cfg := DefaultConfig()
	m := openManager(t, simfs.New(), cfg, "/a")
	defer m.Close(1)
	l := createLog(t, m, "t", 0, cfg)
	if err := l.BecomeLeader(3); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, makeBatch(batchSpec{n: 1, timestamp: 1}), 3)
	if err := l.BecomeFollower(4); err != nil {
		t.Fatal(err)
	}
	if err := l.Stage(newAppend(makeBatch(batchSpec{n: 1, timestamp: 1}), 3)); !errors.Is(err, kerr.NotLeaderForPartition) {
		t.Error(err)
	}
	if err := l.BecomeLeader(3); !errors.Is(err, kerr.FencedLeaderEpoch) {
		t.Error(err)
	}
	if err := l.BecomeLeader(5); err != nil {
		t.Error(err)
	}
	a := mustAppend(t, l, makeBatch(batchSpec{n: 1, timestamp: 1}), 5)
	if got := a.Batch.PartitionLeaderEpoch(); got != 5 {
		t.Error("the batch is stamped with epoch", got)
	}
	for _, tc := range []struct {
		epoch, want int32
		end         int64
	}{{5, 5, 2}, {4, 3, 1}, {3, 3, 1}, {6, -1, -1}, {2, 2, 0}} {
		if epoch, end := l.EndOffsetForEpoch(tc.epoch); epoch != tc.want || end != tc.end {
			t.Errorf("the end of epoch %d is (%d, %d)", tc.epoch, epoch, end)
		}
	}
}
