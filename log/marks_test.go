package log

import (
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kbroker/kbroker/internal/simfs"
)

func markKey(topic byte, partition int32) MarkKey {
	return MarkKey{TopicID: [16]byte{topic}, Partition: partition}
}

func openMarks(t testing.TB, disk *simfs.FS) *durableMarks {
	t.Helper()
	m, err := openDurableMarks(disk, "/d")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestMarksWalk raises, lowers, makes and releases marks at random, cuts the power, and checks that a mark is one
// that was written since the last sync, or the one before. Nothing but a lower bound may come back, and no mark of
// another log.
func TestMarksWalk(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 9))
		disk := newSimDisk(t)
		m := openMarks(t, disk)
		current := make(map[MarkKey]int64)
		// possible holds what the disk may have after a power cut: all values since the last sync.
		possible := make(map[MarkKey][]int64)
		write := func(sync bool) {
			if _, err := m.write(); err != nil {
				t.Fatal(err)
			}
			if sync {
				if err := m.sync(); err != nil {
					t.Fatal(err)
				}
				clear(possible)
			}
			marks, err := ReadMarks(disk, "/d/"+MarksFile)
			if err != nil || len(marks) != len(current) {
				t.Fatalf("seed %d: %d marks in the file, not %d: %v", seed, len(marks), len(current), err)
			}
			for _, mark := range marks {
				if mark.End != current[mark.Key] || mark.Slot != int32(m.slots[mark.Key]) {
					t.Fatalf("seed %d: the file says %+v, but the mark is %d", seed, mark, current[mark.Key])
				}
			}
			for key, end := range current {
				possible[key] = append(possible[key], end)
			}
		}
		for range 200 {
			key := markKey(byte(r.IntN(3)), r.Int32N(100))
			switch r.IntN(20) {
			case 0:
				m.release(key)
				delete(current, key)
			case 1:
				write(false)
			case 2:
				write(true)
			case 3:
				if r.IntN(4) > 0 {
					continue
				}
				write(true)
				disk = disk.Kill()
				m = openMarks(t, disk)
			default:
				current[key] += r.Int64N(100) - 10
				current[key] = max(current[key], 0)
				m.set(m.slot(key), current[key])
			}
			for key := range maps.Keys(current) {
				if end, ok := m.get(key); !ok || end != current[key] {
					t.Fatalf("seed %d: %v has mark %d %v, not %d", seed, key, end, ok, current[key])
				}
			}
		}
		after := openMarks(t, disk.Crash(seed))
		for key := range after.slots {
			if end, ok := after.get(key); !ok || !slices.Contains(possible[key], end) {
				t.Fatalf("seed %d: after a power cut %v has mark %d %v, but only %v were written", seed, key, end, ok, possible[key])
			}
		}
	}
}

// TestMarksSurvive checks that what was synced comes back, whatever the power cut does to later writes.
func TestMarksSurvive(t *testing.T) {
	for seed := range uint64(50) {
		disk := newSimDisk(t)
		m := openMarks(t, disk)
		for p := range int32(200) {
			m.set(m.slot(markKey(1, p)), 100)
		}
		if n, err := m.write(); n != 200 || err != nil {
			t.Fatal(n, err)
		}
		if err := m.sync(); err != nil {
			t.Fatal(err)
		}
		for p := range int32(200) {
			m.set(m.slot(markKey(1, p)), 150)
		}
		if _, err := m.write(); err != nil {
			t.Fatal(err)
		}
		after := openMarks(t, disk.Crash(seed))
		for p := range int32(200) {
			if end, ok := after.get(markKey(1, p)); !ok || end != 100 && end != 150 {
				t.Fatalf("seed %d: partition %d has mark %d %v", seed, p, end, ok)
			}
		}
	}
}

// TestMarksWriteInRuns checks that a round writes only the pages that changed, neighbours in one write.
func TestMarksWriteInRuns(t *testing.T) {
	disk := newSimDisk(t)
	m := openMarks(t, disk)
	for p := range int32(1000) {
		m.slot(markKey(1, p))
	}
	if _, err := m.write(); err != nil {
		t.Fatal(err)
	}
	writes := 0
	disk.Inject(simfs.Rule{Ops: simfs.OpWrite, Pattern: "*", Before: func() { writes++ }})
	for _, p := range []int32{3, 70, 140, 900} { // pages 0, 1, 2 and 14
		m.set(m.slot(markKey(1, p)), 5)
	}
	if n, err := m.write(); n != 4 || writes != 2 || err != nil {
		t.Errorf("%d slots in %d writes, %v", n, writes, err)
	}
	m.set(m.slot(markKey(1, 3)), 5)
	if n, err := m.write(); n != 0 || writes != 2 || err != nil {
		t.Errorf("nothing changed: %d slots in %d writes, %v", n, writes, err)
	}
	if n := testing.AllocsPerRun(10, func() {
		for p := range int32(64) {
			m.set(markSlot(p), int64(writes)+int64(p))
		}
		writes++
	}); n != 0 {
		t.Errorf("a round of 64 marks allocates %v times", n)
	}
}

// TestDamagedMarks checks that a damaged slot is no mark, and that a damaged header is an error.
func TestDamagedMarks(t *testing.T) {
	disk := newSimDisk(t)
	m := openMarks(t, disk)
	for p := range int32(3) {
		m.set(m.slot(markKey(1, p)), 10+int64(p))
	}
	if _, err := m.write(); err != nil {
		t.Fatal(err)
	}
	good := readSim(t, disk, "/d/"+MarksFile)
	bad := slices.Clone(good)
	bad[m.slot(markKey(1, 1)).at()+25] ^= 1
	writeTestFile(t, disk, "/d/"+MarksFile, bad)
	m = openMarks(t, disk)
	for p := range int32(3) {
		if end, ok := m.get(markKey(1, p)); ok != (p != 1) || ok && end != 10+int64(p) {
			t.Errorf("partition %d: %d %v", p, end, ok)
		}
	}
	for _, n := range []int{0, 7, 100} {
		writeTestFile(t, disk, "/d/"+MarksFile, good[:n])
		if _, err := openDurableMarks(disk, "/d"); !errors.Is(err, ErrCorrupt) {
			t.Errorf("a file of %d bytes: %v", n, err)
		}
	}
	bad = slices.Clone(good)
	bad[9] ^= 1
	writeTestFile(t, disk, "/d/"+MarksFile, bad)
	if _, err := openDurableMarks(disk, "/d"); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a damaged header: %v", err)
	}
}
