package dump

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kbroker/kbroker/internal/kafkatree"
	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/internal/vfs"
	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/log/record"
)

// kafkaFiles are data directories of a real Kafka 4.3.1, and what its dump tool printed for their files.
const kafkaFiles = "../testdata/kafka-4.3.1"

func kafkaTree(t testing.TB, name string) string {
	t.Helper()
	return kafkatree.Unpack(t, filepath.Join(kafkaFiles, name+".tar.gz"))
}

// kafkaDump returns the lines that Kafka's own dump tool printed for each file, by file name relative to the tree.
func kafkaDump(t testing.TB, name string) map[string][]string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(kafkaFiles, "dump", name))
	if err != nil {
		t.Fatal(err)
	}
	dumps := make(map[string][]string)
	file := ""
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\r\n")
		if f, ok := strings.CutPrefix(line, "Dumping "); ok {
			file = f
			dumps[file] = nil
		} else if line != "" {
			dumps[file] = append(dumps[file], line)
		}
	}
	return dumps
}

// diskWith returns a disk in memory with one file.
func diskWith(t testing.TB, name string, data []byte) vfs.FS {
	t.Helper()
	disk := simfs.New()
	if err := disk.MkdirAll(path.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := disk.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(data, 0); err != nil {
		t.Fatal(err)
	}
	return disk
}

// dumpLines returns what File prints for a file, by line, without the first that names it.
func dumpLines(t testing.TB, fsys vfs.FS, name string, o Options) ([]string, error) {
	t.Helper()
	var out bytes.Buffer
	err := File(&out, fsys, name, o)
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if !o.JSON && len(lines) > 0 {
		lines = lines[1:]
	}
	return lines, err
}

// TestDumpIsKafkas compares our dump of Kafka's files with the dump of Kafka's own tool.
func TestDumpIsKafkas(t *testing.T) {
	withRecords := []string{"plain-0.print-data.txt", "codecs-java-0.print-data.txt", "compacted-0.log.txt", "compacted-txn-0.log.txt"}
	for tree, dumps := range map[string][]string{
		"clean-shutdown": {"plain-0.index.txt", "plain-0.timeindex.txt", "logappend-0.timeindex.txt", "txn-0.txnindex.txt", "txn-0.snapshot.txt",
			"logappend-0.log.txt", "txn-0.log.txt",
			withRecords[0], withRecords[1], withRecords[2], withRecords[3]},
		"sigkill": {"unclean-plain-0.indexes.txt"},
	} {
		dir := kafkaTree(t, tree)
		for _, dump := range dumps {
			for file, want := range kafkaDump(t, dump) {
				got, err := dumpLines(t, vfs.OS(), filepath.Join(dir, file), Options{Records: slices.Contains(withRecords, dump)})
				if err != nil || !slices.Equal(got, want) {
					t.Errorf("%s: %v\n%s\nbut Kafka's tool says\n%s", file, err, strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			}
		}
	}
}

// TestDumpOfTornSegments prints the same batches of damaged segments as Kafka's tool, and says where it goes wrong in
// its own words.
func TestDumpOfTornSegments(t *testing.T) {
	dir := kafkaTree(t, "torn-tail")
	batches := func(lines []string) []string {
		return slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return !strings.HasPrefix(line, "baseOffset: ") })
	}
	for file, want := range kafkaDump(t, "torn.txt") {
		got, err := dumpLines(t, vfs.OS(), filepath.Join(dir, file), Options{})
		if !errors.Is(err, log.ErrCorrupt) || !slices.Equal(batches(got), batches(want)) {
			t.Errorf("%s: %v\n%s\nbut Kafka's tool says\n%s", file, err, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// glob returns the files of a tree that match pattern, which is relative to it.
func glob(t testing.TB, tree, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(tree, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// notDumped are the files of Kafka's that we have no use for: the lock, and what belongs to its controller.
var notDumped = []string{".lock", "bootstrap.checkpoint", "quorum-state"}

// TestDumpReadsEveryFile dumps all files of Kafka's data directories, as text and as JSON, and finds only the damage
// that was done on purpose.
func TestDumpReadsEveryFile(t *testing.T) {
	damaged := map[string]bool{
		"torn-tail/plain-1/00000000000000000000.timeindex": true,
		"torn-tail/txn-0/00000000000000001241.snapshot":    true,
		"torn-tail/logappend-0/00000000000000001329.log":   true, // a CRC
		"torn-tail/plain-0/00000000000000000666.log":       true, // cut in a batch
		"torn-tail/plain-1/00000000000000000678.log":       true, // zeros from within a batch on
	}
	for _, tree := range []string{"clean-shutdown", "sigkill", "torn-tail"} {
		dir := kafkaTree(t, tree)
		for _, name := range slices.Concat(glob(t, dir, "*/*"), glob(t, dir, "*")) {
			short, err := filepath.Rel(dir, name)
			if err != nil {
				t.Fatal(err)
			}
			switch info, err := os.Stat(name); {
			case err != nil:
				t.Fatal(err)
			case info.IsDir() || slices.Contains(notDumped, filepath.Base(name)):
				continue
			}
			text, err := dumpLines(t, vfs.OS(), name, Options{})
			if damaged[tree+"/"+filepath.ToSlash(short)] {
				if last := text[len(text)-1]; !errors.Is(err, log.ErrCorrupt) || !strings.HasPrefix(last, "problem: ") {
					t.Errorf("%s %s: the damage is not reported: %v, %q", tree, short, err, last)
				}
			} else if err != nil {
				t.Errorf("%s %s: %v", tree, short, err)
			}
			lines, _ := dumpLines(t, vfs.OS(), name, Options{JSON: true, Records: true})
			for _, line := range lines {
				var row map[string]any
				if line == "" {
					continue
				}
				if err := json.Unmarshal([]byte(line), &row); err != nil || row["file"] != name || row["type"] == nil {
					t.Errorf("%s %s: %q: %v", tree, short, line, err)
				}
			}
		}
	}
}

// ourMarks is a file of durable marks with two slots, as log/FORMAT.md has it.
func ourMarks() []byte {
	b := make([]byte, 4096)
	copy(b, "kbmarks\x01\x00\x00\x00\x40")
	binary.BigEndian.PutUint32(b[12:], crc32.Checksum(b[:12], castagnoli))
	for _, m := range []struct {
		topic          byte
		partition, end byte
	}{{1, 7, 42}, {2, 0, 43}} {
		slot := make([]byte, 64)
		slot[0], slot[19], slot[27] = m.topic, m.partition, m.end
		copy(slot[36:], "\xff\xff\xff\xff\xff\xff\xff\xff") // of a recovery point at 0 in no known segment
		binary.BigEndian.PutUint32(slot[52:], crc32.Checksum(slot[:52], castagnoli))
		b = append(b, slot...)
	}
	return b
}

// ourSnapshot is a producer snapshot (rule 3.2.10): one producer without a batch, and one with an open transaction.
func ourSnapshot() []byte {
	var b bytes.Buffer
	for _, v := range []any{
		int16(1), uint32(0), int32(2), // version, CRC, count
		int64(1), int16(2), int32(-1), int64(-1), int32(0), int64(6), int32(7), int64(-1),
		int64(8), int16(2), int32(5), int64(9), int32(1), int64(6), int32(-1), int64(4),
	} {
		_ = binary.Write(&b, binary.BigEndian, v) // into memory
	}
	binary.BigEndian.PutUint32(b.Bytes()[2:], crc32.Checksum(b.Bytes()[6:], castagnoli))
	return b.Bytes()
}

// TestDumpOfOurFiles prints the files that Kafka does not have, and JSON.
func TestDumpOfOurFiles(t *testing.T) {
	for name, file := range map[string]struct {
		data       []byte
		text, json string
	}{
		"/d/kbroker-durable-marks": {
			ourMarks(),
			"slot: 0 topic_id: AQAAAAAAAAAAAAAAAAAAAA partition: 7 durableEnd: 42 recoveryPoint: 0 recoverySegment: -1 recoveryPosition: 0\nslot: 1 topic_id: AgAAAAAAAAAAAAAAAAAAAA partition: 0 durableEnd: 43 recoveryPoint: 0 recoverySegment: -1 recoveryPosition: 0",
			`{"file":"/d/kbroker-durable-marks","type":"durable-mark","slot":0,"topic_id":"AQAAAAAAAAAAAAAAAAAAAA","partition":7,"durableEnd":42,"recoveryPoint":0,"recoverySegment":-1,"recoveryPosition":0}` + "\n" +
				`{"file":"/d/kbroker-durable-marks","type":"durable-mark","slot":1,"topic_id":"AgAAAAAAAAAAAAAAAAAAAA","partition":0,"durableEnd":43,"recoveryPoint":0,"recoverySegment":-1,"recoveryPosition":0}`,
		},
		"/d/meta.properties": {
			[]byte("version=1\ncluster.id=c\nnode.id=3\ndirectory.id=AQIDBAUGBwgJCgsMDQ4PEA\nkbroker.format=1\n"),
			"cluster.id: c node.id: 3 directory.id: AQIDBAUGBwgJCgsMDQ4PEA kbroker.format: 1",
			`{"file":"/d/meta.properties","type":"meta-properties","cluster.id":"c","node.id":3,"directory.id":"AQIDBAUGBwgJCgsMDQ4PEA","kbroker.format":1}`,
		},
		"/d/5.snapshot": {
			ourSnapshot(),
			"producerId: 1 producerEpoch: 2 coordinatorEpoch: 7 currentTxnFirstOffset: OptionalLong.empty lastTimestamp: 6\n" +
				"producerId: 8 producerEpoch: 2 coordinatorEpoch: -1 currentTxnFirstOffset: OptionalLong[4] lastTimestamp: 6 firstSequence: 4 lastSequence: 5 lastOffset: 9 offsetDelta: 1 timestamp: 6",
			`{"file":"/d/5.snapshot","type":"producer","producerId":1,"producerEpoch":2,"coordinatorEpoch":7,"currentTxnFirstOffset":null,"lastTimestamp":6}` + "\n" +
				`{"file":"/d/5.snapshot","type":"producer","producerId":8,"producerEpoch":2,"coordinatorEpoch":-1,"currentTxnFirstOffset":4,"lastTimestamp":6,"firstSequence":4,"lastSequence":5,"lastOffset":9,"offsetDelta":1,"timestamp":6}`,
		},
	} {
		disk := diskWith(t, name, file.data)
		for want, o := range map[string]Options{file.text: {}, file.json: {JSON: true}} {
			if got, err := dumpLines(t, disk, name, o); err != nil || strings.Join(got, "\n") != want {
				t.Errorf("%s: %v\n%s\nnot\n%s", name, err, strings.Join(got, "\n"), want)
			}
		}
	}
	disk := simfs.New()
	if err := File(&bytes.Buffer{}, disk, "/d/photo.jpg", Options{}); err == nil {
		t.Error("a photo was dumped")
	}
	if err := File(&bytes.Buffer{}, disk, "/d/6.index", Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

// TestDumpOfRecords prints what Kafka's files do not have: bytes that are no text, a damaged batch in the middle.
func TestDumpOfRecords(t *testing.T) {
	build := func(base int64, rs ...record.Record) []byte {
		b := record.NewBuilder(nil, record.BuilderOptions{BaseOffset: base})
		for _, r := range rs {
			b.Append(r)
		}
		batch, err := b.AppendTo(nil)
		if err != nil {
			t.Fatal(err)
		}
		return batch
	}
	first := build(5, record.Record{Offset: 5, Timestamp: 1, Key: []byte("k\n\x1b[2J"), Value: []byte{0xff, 0}, Headers: []record.Header{{Key: "h", Value: []byte{1}}, {Key: "n"}}})
	bad := build(6, record.Record{Offset: 6, Timestamp: 2, Value: []byte("v")})
	bad[len(bad)-1] ^= 1
	last := build(7, record.Record{Offset: 7, Timestamp: 3, Key: []byte{}})
	disk := diskWith(t, "/d/00000000000000000005.log", slices.Concat(first, bad, last))
	text, err := dumpLines(t, disk, "/d/00000000000000000005.log", Options{Records: true})
	if !errors.Is(err, log.ErrCorrupt) || len(text) != 7 {
		t.Fatalf("%v\n%s", err, strings.Join(text, "\n"))
	}
	for i, want := range map[int]string{
		2: `| offset: 5 CreateTime: 1 keySize: 6 valueSize: 2 sequence: -1 headerKeys: [h,n] key: k\n\x1b[2J payload: \xff\x00`,
		5: `| offset: 7 CreateTime: 3 keySize: 0 valueSize: -1 sequence: -1 headerKeys: [] key: `,
	} {
		if text[i] != want {
			t.Errorf("line %d is\n%s\nnot\n%s", i, text[i], want)
		}
	}
	if !strings.HasPrefix(text[6], "problem: at position ") || !strings.Contains(text[6], "CRC") {
		t.Errorf("the damage is told as %q", text[6])
	}
	rows, _ := dumpLines(t, disk, "/d/00000000000000000005.log", Options{Records: true, JSON: true})
	if want := `{"file":"/d/00000000000000000005.log","type":"record","offset":5,"CreateTime":1,"keySize":6,"valueSize":2,"sequence":-1,` +
		`"headerKeys":[{"key":"h","valueBase64":"AQ=="},{"key":"n","valueBase64":null}],"key":"k\n\u001b[2J","payloadBase64":"/wA="}`; rows[2] != want {
		t.Errorf("JSON\n%s\nnot\n%s", rows[2], want)
	}
}
