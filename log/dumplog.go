package log

import (
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/kbroker/kbroker/internal/vfs"
	"github.com/kbroker/kbroker/log/record"
)

// crcBytes is the size of the reads with which a batch's checksum is computed: the length in its header is not believed
// before.
const crcBytes = 64 << 10

// segment prints a .log file batch by batch. It goes on behind a batch with a wrong CRC, as its length may be right, and
// ends where no batch begins.
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
	s := &segmentDump{dumper: d, f: f, size: size, next: base, buf: make([]byte, crcBytes)}
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
	damage   error // the first
}

// damaged remembers what is wrong with the bytes at position.
func (s *segmentDump) damaged(what string) error {
	err := fmt.Errorf("at position %d, %d bytes before the end: %s: %w", s.position, s.size-s.position, what, ErrCorrupt)
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
