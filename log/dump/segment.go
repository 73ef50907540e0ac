package dump

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kbroker/kbroker/internal/vfs"
	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/log/record"
)

// crcBytes is the size of the reads with which a batch's checksum is computed: the length in its header is not believed
// before.
const crcBytes = 64 << 10

// castagnoli is the polynomial of the checksum of batches.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// segment prints a .log file batch by batch. It goes on behind a batch with a wrong CRC, as its length may be right,
// and ends where no batch begins.
func (d *dumper) segment(name string) error {
	base, err := segmentBase(name)
	if err != nil {
		return err
	}
	f, err := d.fs.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	d.row("segment", field{"Log starting offset", base})
	s := &segmentDump{dumper: d, f: f, size: size, next: base, buf: make([]byte, crcBytes), codecs: record.NewCodecs()}
	for s.position < size {
		if err := s.batch(); err != nil {
			return err
		}
	}
	return s.damage
}

// segmentDump is the way through one .log file.
type segmentDump struct {
	*dumper
	f        vfs.File
	size     int64 // of the file
	position int64
	next     int64 // lowest offset that the next batch may have
	header   [record.HeaderSize]byte
	buf      []byte
	whole    []byte // of a batch whose records are printed
	codecs   *record.Codecs
	damage   error // the first
}

// damaged remembers what is wrong with the bytes at position.
func (s *segmentDump) damaged(what string) error {
	err := fmt.Errorf("at position %d, %d bytes before the end: %s: %w", s.position, s.size-s.position, what, log.ErrCorrupt)
	if s.damage == nil {
		s.damage = err
	}
	return err
}

// batch prints the batch at position and goes behind it. An error ends the pass.
func (s *segmentDump) batch() error {
	n, err := s.f.ReadAt(s.header[:], s.position)
	if err != nil && err != io.EOF {
		return err
	}
	if err := record.CheckHeader(s.header[:n]); err != nil {
		return s.damaged(err.Error())
	}
	b := record.Batch(s.header[:])
	size := int64(b.Size())
	if size > s.size-s.position {
		return s.damaged(fmt.Sprintf("the file ends inside a batch of %d bytes", size))
	}
	crc, err := s.crc(size)
	if err != nil {
		return err
	}
	valid := crc == b.CRC()
	s.print(b, valid)
	if !valid {
		_ = s.damaged(fmt.Sprintf("the batch's CRC is %d, but %d in its header", crc, b.CRC()))
	} else if err := s.records(size); err != nil {
		return err
	} else if b.BaseOffset() < s.next || b.LastOffsetDelta() < 0 {
		_ = s.damaged(fmt.Sprintf("the batch of offsets %d to %d comes where %d is the lowest", b.BaseOffset(), b.LastOffset(), s.next))
	}
	s.next = max(s.next, b.LastOffset()+1)
	s.position += size
	return nil
}

// crc computes the checksum of the batch at position.
func (s *segmentDump) crc(size int64) (uint32, error) {
	crc, at := uint32(0), int64(record.HeaderSize)
	crc = crc32.Update(crc, castagnoli, s.header[21:])
	for at < size {
		n, err := s.f.ReadAt(s.buf[:min(int64(len(s.buf)), size-at)], s.position+at)
		if n == 0 {
			return 0, err
		}
		crc = crc32.Update(crc, castagnoli, s.buf[:n])
		at += int64(n)
	}
	return crc, nil
}

// print prints the fields of a batch's header.
func (s *segmentDump) print(b record.Batch, valid bool) {
	horizon := optional(-1)
	if b.HasDeleteHorizon() {
		horizon = optional(b.BaseTimestamp())
	}
	s.row("batch",
		field{"baseOffset", b.BaseOffset()}, field{"lastOffset", b.LastOffset()}, field{"count", b.RecordCount()},
		field{"baseSequence", b.BaseSequence()}, field{"lastSequence", b.LastSequence()},
		field{"producerId", b.ProducerID()}, field{"producerEpoch", b.ProducerEpoch()},
		field{"partitionLeaderEpoch", b.PartitionLeaderEpoch()}, field{"isTransactional", b.IsTransactional()},
		field{"isControl", b.IsControl()}, field{"deleteHorizonMs", horizon}, field{"position", s.position},
		field{b.TimestampType().String(), b.MaxTimestamp()}, field{"size", b.Size()}, field{"magic", b.Magic()},
		field{"compresscodec", b.Codec().String()}, field{"crc", b.CRC()}, field{"isvalid", valid})
}

// records prints the records of the batch at position, whose CRC is right, if they are wanted.
func (s *segmentDump) records(size int64) error {
	if !s.o.Records {
		return nil
	}
	s.whole = slices.Grow(s.whole[:0], int(size))[:size]
	if n, err := s.f.ReadAt(s.whole, s.position); n < len(s.whole) {
		return err
	}
	b := record.Batch(s.whole)
	for r, err := range b.Records(s.codecs) {
		if err != nil {
			_ = s.damaged(err.Error())
			return nil
		}
		sequence := b.BaseSequence()
		if sequence >= 0 {
			sequence = record.AddSequence(sequence, int32(r.Offset-b.BaseOffset()))
		}
		fields := []field{
			{"offset", r.Offset}, {b.TimestampType().String(), r.Timestamp}, {"keySize", sizeOf(r.Key)},
			{"valueSize", sizeOf(r.Value)}, {"sequence", sequence}, {"headerKeys", headerList(r.Headers)},
		}
		if b.IsControl() {
			fields = append(fields, controlFields(b)...)
		} else {
			fields = s.appendBytes(fields, "key", r.Key)
			fields = s.appendBytes(fields, "payload", r.Value)
		}
		s.row("record", fields...)
	}
	return nil
}

// sizeOf returns the length of a key or value, -1 for null.
func sizeOf(b []byte) int {
	if b == nil {
		return -1
	}
	return len(b)
}

// controlFields say what a control batch is about.
func controlFields(b record.Batch) []field {
	if m, ok, err := b.EndTxnMarker(); ok && err == nil {
		kind := record.ControlAbort
		if m.Commit {
			kind = record.ControlCommit
		}
		return []field{{"endTxnMarker", kind.String()}, {"coordinatorEpoch", m.CoordinatorEpoch}}
	}
	if b.RecordCount() == 0 { // compaction emptied it
		return nil
	}
	kind, _, err := b.Control()
	if err != nil {
		return []field{{"problem", err.Error()}}
	}
	return []field{{"control", kind.String()}}
}

// appendBytes adds a key or a value unless it is null. In JSON, bytes that are no UTF-8 are base64, under another name.
func (d *dumper) appendBytes(fields []field, name string, b []byte) []field {
	switch {
	case b == nil:
		return fields
	case !d.o.JSON:
		return append(fields, field{name, printable(b)})
	case utf8.Valid(b):
		return append(fields, field{name, string(b)})
	}
	return append(fields, field{name + "Base64", b})
}

// printable returns text as it is, and anything that would change lines or drive a terminal escaped as in Go.
func printable(b []byte) string {
	for _, r := range string(b) {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			q := strconv.Quote(string(b))
			return q[1 : len(q)-1]
		}
	}
	return string(b)
}

type headerList []record.Header

// String lists the keys, as Kafka's tool does.
func (l headerList) String() string {
	keys := make([]string, len(l))
	for i, h := range l {
		keys[i] = printable([]byte(h.Key))
	}
	return "[" + strings.Join(keys, ",") + "]"
}

// MarshalJSON lists keys and values, the values in base64.
func (l headerList) MarshalJSON() ([]byte, error) {
	type header struct {
		Key   string `json:"key"`
		Value []byte `json:"valueBase64"`
	}
	list := make([]header, len(l))
	for i, h := range l {
		list[i] = header{h.Key, h.Value}
	}
	return json.Marshal(list)
}
