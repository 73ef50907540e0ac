package log

import (
	"bytes"
	"errors"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// Each fuzz target checks that a decoder neither panics nor takes what it would not write again in the same meaning.

// seedFiles adds the files of a real Kafka that match pattern.
func seedFiles(f *testing.F, pattern string) {
	f.Helper()
	names := glob(f, kafkaTree(f, "clean-shutdown"), pattern)
	if len(names) == 0 {
		f.Fatalf("no file matches %s", pattern)
	}
	for _, name := range names {
		f.Add(readTestFile(f, name))
	}
}

func FuzzSnapshot(f *testing.F) {
	seedFiles(f, "*/*.snapshot")
	f.Fuzz(func(t *testing.T, data []byte) {
		// The CRC would keep the fuzzer out, so that it is put right.
		if len(data) >= snapshotHeaderBytes {
			data = slices.Clone(data)
			fixSnapshotCRC(data)
		}
		entries, err := decodeSnapshot(data)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if again := encodeSnapshot(entries); !bytes.Equal(again, data) {
			t.Fatalf("%x became %x", data, again)
		}
		s := newProducerState(producerStateConfig{})
		s.load(entries, 0)
		if s.len() != len(entries) {
			t.Fatalf("%d producers of %d", s.len(), len(entries))
		}
	})
}

func FuzzCheckpoint(f *testing.F) {
	seedFiles(f, "*-checkpoint")
	f.Fuzz(func(t *testing.T, data []byte) {
		offsets, err := parseCheckpoint("f", data)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		again, err := parseCheckpoint("f", formatCheckpoint(offsets))
		if err != nil || !maps.Equal(again, offsets) {
			t.Fatalf("%v became %v, %v", offsets, again, err)
		}
	})
}

func FuzzEpochs(f *testing.F) {
	seedFiles(f, "*/leader-epoch-checkpoint")
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := parseEpochs("f", data)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		again, err := parseEpochs("f", formatEpochs(entries))
		if err != nil || !slices.Equal(again, entries) {
			t.Fatalf("%v became %v, %v", entries, again, err)
		}
		c := &EpochCache{}
		for _, e := range entries {
			if !c.Assign(e.Epoch, e.StartOffset) {
				t.Fatalf("%v changes nothing", e)
			}
		}
		if !slices.Equal(c.Entries(), entries) {
			t.Fatalf("%v became %v", entries, c.Entries())
		}
	})
}

func FuzzMetaProperties(f *testing.F) {
	seedFiles(f, "meta.properties")
	f.Add(formatMetaProperties(MetaProperties{ClusterID: `a\:=b`, NodeID: 3, DirectoryID: testID, Format: 1}))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseMetaProperties(data)
		if err != nil || strings.ContainsAny(m.ClusterID, "\r\n \t\f") {
			return // ids of our own have no spaces, which Java would escape at the start
		}
		again, err := parseMetaProperties(formatMetaProperties(m))
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("%+v became %+v, %v", m, again, err)
		}
	})
}

func FuzzPartitionMetadata(f *testing.F) {
	seedFiles(f, "*/partition.metadata")
	f.Fuzz(func(t *testing.T, data []byte) {
		id, err := parsePartitionMetadata(data)
		if err != nil {
			return
		}
		if again, err := parsePartitionMetadata(formatPartitionMetadata(id)); err != nil || again != id {
			t.Fatalf("%v became %v, %v", id, again, err)
		}
	})
}

func FuzzMarks(f *testing.F) {
	m := &durableMarks{slots: make(map[MarkKey]markSlot)}
	if err := m.load(newMarks()); err != nil {
		f.Fatal(err)
	}
	f.Add(slices.Clone(m.buf))
	for p := range int32(3) {
		m.set(m.slot(markKey(1, p)), int64(p))
	}
	f.Add(slices.Clone(m.buf[:marksPage+3*markBytes])) // the rest is filled up with zeros
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		m := &durableMarks{slots: make(map[MarkKey]markSlot)}
		if err := m.load(slices.Clone(data)); err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		again := &durableMarks{slots: make(map[MarkKey]markSlot)}
		if err := again.load(slices.Clone(m.buf)); err != nil || !maps.Equal(again.slots, m.slots) {
			t.Fatalf("%v became %v, %v", m.slots, again.slots, err)
		}
		if len(m.slots)+len(m.free) != len(m.dirty)*marksPage/markBytes {
			t.Fatalf("%d slots in use, %d free, %d pages", len(m.slots), len(m.free), len(m.dirty))
		}
	})
}

func FuzzDirName(f *testing.F) {
	for _, name := range glob(f, kafkaTree(f, "clean-shutdown"), "*-*") {
		f.Add(filepath.Base(name))
	}
	f.Fuzz(func(t *testing.T, name string) {
		d, err := ParseDirName(name)
		if err != nil || len(name) > maxDirName {
			return
		}
		if d.Kind == DirLog && d.String() != name {
			t.Fatalf("%q became %q", name, d)
		}
		if again, err := ParseDirName(d.String()); err != nil || again != d {
			t.Fatalf("%q: %+v became %+v, %v", name, d, again, err)
		}
	})
}

// FuzzIndexes feeds one file to all three indexes.
func FuzzIndexes(f *testing.F) {
	seedFiles(f, "*/*.index")
	seedFiles(f, "*/*.timeindex")
	seedFiles(f, "*/*.txnindex")
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		disk := newSimDisk(t)
		writeTestFile(t, disk, "/d/x", data)
		var errs [3]error
		if x, err := openOffsetIndex(disk, "/d/x", 5, 1<<20, 1<<30); err == nil {
			_, errs[0] = x.lookup(77)
		}
		if x, err := openTimeIndex(disk, "/d/x", 5, 1<<20); err == nil {
			_, errs[1] = x.lookup(1795538592629)
		}
		if x, err := openTxnIndex(disk, "/d/x", 5); err == nil {
			_, _, errs[2] = x.collect(nil, 10, 100)
		}
		for _, err := range errs {
			if err != nil && !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
		}
	})
}
