package assert

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/integration/batch"
)

// files is about what lies on disk (chapter 3 of the rules).
var files = []assertion{
	{number: "T150", claim: "each index entry leads to the batch that ends at its offset, each time entry to a batch of that time", try: indexEntries, life: stopped},
	{number: "T151", claim: "a producer snapshot has version 1, its CRC, and 46 bytes for each producer", try: snapshotFile, life: stopped},
	{number: "T152", claim: "a torn batch at the end of a log is cut, and nothing else", try: tornTail, life: killed},
	{number: "T153", claim: "damaged indexes are made anew", try: damagedIndexes, life: killed},
	{number: "T154", claim: "without clean mark, indexes and snapshots the data and the last sequence are the same", try: bareLog, life: unmarked},
	{number: "T155", claim: "leader-epoch-checkpoint lists each epoch that the log has, and where it begins", try: epochFile, life: stopped},
}

// placed is a batch and where it lies in its file.
type placed struct {
	*batch.Batch
	position int64
}

func (p placed) last() int64 { return p.BaseOffset + int64(p.LastOffsetDelta) }

// segment is one segment's files, as they lie on disk.
type segment struct {
	base    int64
	path    string // without suffix
	batches []placed
}

// segments reads a partition's directory.
func (c *check) segments(dir string) (all []segment) {
	c.Helper()
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil || len(logs) == 0 {
		c.Fatalf("%s has no segments (%v)", dir, err)
	}
	for _, path := range logs {
		s := segment{path: strings.TrimSuffix(path, ".log")}
		s.base, err = strconv.ParseInt(filepath.Base(s.path), 10, 64)
		data := c.read(path)
		list, rest, decodeErr := batch.Decode(data)
		if err != nil || decodeErr != nil || len(rest) > 0 {
			c.Fatalf("%s: %v, %v, %d bytes after the last batch", path, err, decodeErr, len(rest))
		}
		position := int64(0)
		for _, b := range list {
			s.batches = append(s.batches, placed{b, position})
			position += int64(b.Length) + batch.AtLeaderEpoch
		}
		all = append(all, s)
	}
	return all
}

func (c *check) read(path string) []byte {
	c.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		c.Fatal(err)
	}
	return data
}

// entries splits an index into entries of the given size. A broker that runs may have zeros after the last.
func (c *check) entries(path string, size int) (list [][]byte) {
	c.Helper()
	data := c.read(path)
	if len(data)%size != 0 {
		c.Fatalf("%s has %d bytes, not a multiple of %d", path, len(data), size)
	}
	for e := range slices.Chunk(data, size) {
		if len(list) > 0 && bytes.Equal(e, make([]byte, size)) {
			break
		}
		list = append(list, e)
	}
	if len(list) == 1 && bytes.Equal(list[0], make([]byte, size)) {
		return nil
	}
	return list
}

// checkIndexes asserts that the indexes of a segment are right (rules 3.2.1 and 3.2.2), and returns how many entries of
// each kind there are.
func (c *check) checkIndexes(s segment) (offsets, times int) {
	c.Helper()
	at := map[int64]placed{}
	ending := map[int64]placed{}
	for _, b := range s.batches {
		at[b.position], ending[b.last()] = b, b
	}
	previous, position := s.base-1, int64(-1)
	list := c.entries(s.path+".index", 8)
	for _, e := range list {
		offset, where := s.base+int64(binary.BigEndian.Uint32(e)), int64(binary.BigEndian.Uint32(e[4:]))
		if offset <= previous || where <= position {
			c.Fatalf("%s.index: offset %d at %d after %d at %d", s.path, offset, where, previous, position)
		}
		previous, position = offset, where
		if b, ok := at[where]; !ok || b.last() != offset {
			c.Fatalf("%s.index: no batch at %d ends at offset %d", s.path, where, offset)
		}
	}
	timeList := c.entries(s.path+".timeindex", 12)
	newest, previous := int64(math.MinInt64), s.base-1
	for _, e := range timeList {
		ms, offset := int64(binary.BigEndian.Uint64(e)), s.base+int64(binary.BigEndian.Uint32(e[8:]))
		if ms <= newest || offset <= previous {
			c.Fatalf("%s.timeindex: time %d at offset %d after %d at %d", s.path, ms, offset, newest, previous)
		}
		newest, previous = ms, offset
		if b, ok := ending[offset]; !ok || b.MaxTimestamp != ms {
			c.Fatalf("%s.timeindex: no batch of time %d ends at offset %d", s.path, ms, offset)
		}
	}
	return len(list), len(timeList)
}

// fill appends batches of three records and about size bytes, with times that mostly rise, and returns the first time.
func (n *conn) fill(t topic, batches, size int) (begin int64) {
	n.c.Helper()
	value := bytes.Repeat([]byte("x"), size/3)
	begin = time.Now().Add(-time.Hour).UnixMilli()
	for i := range batches {
		at := begin + 10*int64(i)
		if i%5 == 4 {
			at -= 100 // older than what is there
		}
		records := []batch.Record{{Value: value}, {TimestampDelta: 7, Value: value}, {TimestampDelta: 3, Value: value}}
		n.append(t, batch.New(at, records...))
	}
	return begin
}

// smallSegments are the smallest that Kafka allows.
const smallSegments = "segment.bytes=1048576"

func indexEntries(c *check) {
	t := c.topic(smallSegments, "index.interval.bytes=4096")
	c.dial().fill(t, 150, 16<<10)
	c.awaitStop()
	list := c.segments(c.b.partitionDir(t))
	if len(list) < 3 {
		c.Fatalf("%d segments, want 3", len(list))
	}
	for _, s := range list {
		offsets, times := c.checkIndexes(s)
		// All but the first batch of a segment are more than an interval after the last entry.
		equal(c, s.path+".index: entries", offsets, len(s.batches)-1)
		if times < offsets/2 {
			c.Errorf("%s.timeindex: %d entries for %d in the other index", s.path, times, offsets)
		}
	}
	c.awaitStart()
}

// state is an entry of a producer snapshot (rule 3.2.10).
type state struct {
	Producer     int64
	Epoch        int16
	LastSequence int32
	LastOffset   int64
	OffsetDelta  int32
	LastTime     int64
	Coordinator  int32
	TxnFirst     int64
}

// readSnapshot decodes a producer snapshot and asserts that it is well-formed.
func (c *check) readSnapshot(path string) map[int64]state {
	c.Helper()
	data := c.read(path)
	const header, entry = 10, 46
	if len(data) < header || (len(data)-header)%entry != 0 {
		c.Fatalf("%s has %d bytes, want %d and %d for each producer", path, len(data), header, entry)
	}
	equal(c, path+": version", binary.BigEndian.Uint16(data), 1)
	equal(c, path+": CRC", binary.BigEndian.Uint32(data[2:]), crc32.Checksum(data[6:], crc32.MakeTable(crc32.Castagnoli)))
	list := make([]state, (len(data)-header)/entry)
	equal(c, path+": count", int(binary.BigEndian.Uint32(data[6:])), len(list))
	if _, err := binary.Decode(data[header:], binary.BigEndian, list); err != nil {
		c.Fatal(err)
	}
	byID := map[int64]state{}
	for _, s := range list {
		byID[s.Producer] = s
	}
	return byID
}

func snapshotFile(c *check) {
	t, n := c.topic(), c.dial()
	a, b := n.newProducer(), n.newProducer()
	b.epoch = 4
	n.append(t, a.batch(0, 2))
	n.append(t, records(1))
	n.append(t, b.batch(0, 3))
	newest := a.batch(2, 5)
	n.append(t, newest)
	c.awaitStop()
	dir := c.b.partitionDir(t)
	all, err := filepath.Glob(filepath.Join(dir, "*.snapshot"))
	if err != nil || len(all) == 0 {
		c.Fatalf("%s has no snapshots (%v)", dir, err)
	}
	for _, path := range all {
		c.readSnapshot(path)
	}
	at := c.readSnapshot(filepath.Join(dir, fmt.Sprintf("%020d.snapshot", 11))) // named by the log end
	equal(c, "producers", len(at), 2)
	equal(c, "the first producer", at[a.id], state{a.id, 0, 6, 10, 4, newest.MaxTimestamp, -1, -1})
	second := at[b.id]
	equal(c, "the second producer's epoch, sequence and offset", fmt.Sprint(second.Epoch, second.LastSequence, second.LastOffset), "4 2 5")
	c.awaitStart()
}

// tornTail puts half a batch behind what was acknowledged, which is what a kill in the middle of a write leaves. In a
// second log it cuts into what was acknowledged. Kafka goes on without it; kbroker has promised it, so it serves what is
// left and takes nothing new until somebody has decided.
func tornTail(c *check) {
	torn, lost := c.topic(), c.topic()
	n := c.dial()
	for _, t := range []topic{torn, lost} {
		n.append(t, records(10))
		n.append(t, records(10))
	}
	c.awaitStop()
	half := records(10)
	half.BaseOffset, half.LeaderEpoch = 20, c.segments(c.b.partitionDir(torn))[0].batches[0].LeaderEpoch
	encoded := half.Encode()
	edit(c, torn, func(data []byte) []byte { return append(data, encoded[:len(encoded)-7]...) })
	edit(c, lost, func(data []byte) []byte { return data[:len(data)-7] })
	c.awaitStart()

	n = c.dialAgain(torn, lost)
	equal(c, "log end after half a batch more", n.end(torn), 20)
	equal(c, "batches", len(c.batches(n.fetch(at(torn, 0)))), 2)
	equal(c, "base offset of the next batch", n.append(torn, records(1)), 20)
	c.checkIndexes(c.segments(c.b.partitionDir(torn))[0])

	equal(c, "log end after half a batch less", n.end(lost), 10)
	equal(c, "batches", len(c.batches(n.fetch(at(lost, 0)))), 1)
	row := n.produce(lost, records(1).Encode())
	if c.b.target == kbroker {
		c.wantCode("appending to a log that has lost records", row.ErrorCode, kerr.KafkaStorageError)
		return
	}
	c.wantCode("appending to a log that was cut", row.ErrorCode, nil)
	equal(c, "base offset", row.BaseOffset, 10)
}

// edit changes a topic's first segment while the broker is down.
func edit(c *check, t topic, change func([]byte) []byte) {
	c.Helper()
	path := c.segments(c.b.partitionDir(t))[0].path + ".log"
	if err := os.WriteFile(path, change(c.read(path)), 0o644); err != nil {
		c.Fatal(err)
	}
}

// damagedIndexes is about what an unclean end makes Kafka check. After a clean stop it takes any index as it is (rule
// 3.2.7).
func damagedIndexes(c *check) {
	const batches = 80
	t, n := c.topic(smallSegments), c.dial()
	begin := n.fill(t, batches, 16<<10)
	c.awaitStop()
	for _, s := range c.segments(c.b.partitionDir(t)) {
		for suffix, size := range map[string]int{".index": 8, ".timeindex": 12} {
			if err := os.WriteFile(s.path+suffix, bytes.Repeat([]byte{0x5a}, 9*size+1), 0o644); err != nil {
				c.Fatal(err)
			}
		}
	}
	c.awaitStart()
	n = c.dialAgain(t)
	equal(c, "log end", n.end(t), 3*batches)
	for offset := int64(0); offset < 3*batches; offset += 17 {
		found := c.batches(n.fetch(at(t, offset)))[0]
		equal(c, fmt.Sprintf("base offset read at %d", offset), found.BaseOffset, offset-offset%3)
	}
	row := n.listOffsets(query{t, 0, begin + 601})[0]
	equal(c, "offset of a time", row.Offset, 3*60+1) // begin+607 is its second record
	list := c.segments(c.b.partitionDir(t))
	equal(c, "segments", len(list), 2)
	for _, s := range list {
		offsets, _ := c.checkIndexes(s)
		equal(c, s.path+".index has entries", offsets > 0, true)
	}
}

func bareLog(c *check) {
	t, n := c.topic(smallSegments), c.dial()
	n.fill(t, 80, 16<<10)
	p := n.newProducer()
	n.append(t, p.batch(0, 2))
	last := p.batch(2, 3)
	base := n.append(t, last)
	all := func() []byte {
		from := at(t, 0)
		from.maxBytes = 50 << 20
		var data []byte
		for from.offset < base+3 {
			row := n.fetch(from)
			list := c.batches(row)
			data = append(data, row.RecordBatches...)
			from.offset = list[len(list)-1].BaseOffset + int64(list[len(list)-1].LastOffsetDelta) + 1
		}
		return data
	}
	before := all()
	c.awaitStop()
	for _, kind := range []string{"index", "timeindex", "snapshot"} {
		found, err := filepath.Glob(filepath.Join(c.b.partitionDir(t), "*."+kind))
		if err != nil || len(found) == 0 {
			c.Errorf("no files to delete: *.%s (%v)", kind, err)
		}
		for _, path := range found {
			if err := os.Remove(path); err != nil {
				c.Error(err)
			}
		}
	}
	c.awaitStart()
	n = c.dialAgain(t)
	if !bytes.Equal(all(), before) {
		c.Error("what is read after the start differs from what was read before the stop")
	}
	equal(c, "base offset of the last batch, again", n.append(t, last), base)
	c.wantCode("a gap", n.produce(t, p.batch(6, 1).Encode()).ErrorCode, kerr.OutOfOrderSequenceNumber)
	equal(c, "base offset of what follows", n.append(t, p.batch(5, 1)), base+3)
}

// checkpointLimit is how long kbroker may take to write leader-epoch-checkpoint: it does so with a log's next
// checkpoint, ten seconds later at most, since recovery reads newer epochs from the batches. Kafka writes it at once.
const checkpointLimit = time.Minute

func epochFile(c *check) {
	t, n := c.topic(), c.dial()
	n.append(t, records(4))
	first := n.metadataOf(t.name).Partitions[0].LeaderEpoch
	path := filepath.Join(c.b.partitionDir(t), "leader-epoch-checkpoint")
	c.awaitStop()
	equal(c, "the file after one epoch", string(c.read(path)), fmt.Sprintf("0\n1\n%d 0\n", first))
	c.awaitStart()
	n = c.dialAgain(t)
	n.append(t, records(3))
	second := n.metadataOf(t.name).Partitions[0].LeaderEpoch
	want := fmt.Sprintf("0\n2\n%d 0\n%d 4\n", first, second)
	c.within(checkpointLimit, fmt.Sprintf("%s is %q", path, want), func() bool { return string(c.read(path)) == want })
	for _, b := range c.segments(c.b.partitionDir(t))[0].batches {
		equal(c, fmt.Sprintf("leader epoch of the batch at %d", b.BaseOffset), b.LeaderEpoch, map[int64]int32{0: first, 4: second}[b.BaseOffset])
	}
}
