package log

import (
	"fmt"
	"io"
	"sync"

	"github.com/kbroker/kbroker/internal/vfs"
	"github.com/kbroker/kbroker/log/record"
)

// chunkBytes is how much a header scan reads at a time: about two index intervals, so that a lookup is one or two reads.
const chunkBytes = 8192

// chunkPool lends buffers for header scans. The Manager owns it.
type chunkPool struct{ pool sync.Pool }

func (p *chunkPool) get() *[chunkBytes]byte {
	if b, ok := p.pool.Get().(*[chunkBytes]byte); ok {
		return b
	}
	return new([chunkBytes]byte)
}

func (p *chunkPool) put(b *[chunkBytes]byte) { p.pool.Put(b) }

// headerScan walks the batch headers of a segment from a position on, and reads no more of the records than a chunk
// happens to hold.
type headerScan struct {
	file  vfs.File
	pos   int64 // of the next batch
	limit int64 // bytes of the segment that may be read
	chunk *[chunkBytes]byte
	from  int64 // position of the chunk's first byte
	have  int   // bytes in it
}

// next returns the header of the next batch and its position. It is valid until the following call. At the limit it
// returns io.EOF; bytes that are no header are an error that wraps ErrCorrupt.
func (s *headerScan) next() (record.Batch, int64, error) {
	if s.pos >= s.limit {
		return nil, 0, io.EOF
	}
	hdr, err := s.bytes(s.pos, record.HeaderSize)
	if err != nil {
		return nil, 0, err
	}
	if err := record.CheckHeader(hdr); err != nil {
		return nil, 0, fmt.Errorf("%s, position %d: %w: %w", s.file.Name(), s.pos, err, ErrCorrupt)
	}
	b := record.Batch(hdr)
	if s.pos+int64(b.Size()) > s.limit {
		return nil, 0, fmt.Errorf("%s, position %d: a batch of %d bytes, but only %d are left: %w", s.file.Name(), s.pos, b.Size(), s.limit-s.pos, ErrCorrupt)
	}
	at := s.pos
	s.pos += int64(b.Size())
	return b, at, nil
}

// bytes returns n bytes from position pos, through the chunk.
func (s *headerScan) bytes(pos int64, n int) ([]byte, error) {
	if pos < s.from || pos+int64(n) > s.from+int64(s.have) {
		want := min(int64(chunkBytes), s.limit-pos)
		got, err := s.file.ReadAt(s.chunk[:want], pos)
		s.from, s.have = pos, got
		if got < n {
			if err == nil || err == io.EOF {
				err = fmt.Errorf("the file ends: %w", ErrCorrupt)
			}
			return nil, fmt.Errorf("read %s, position %d: %w", s.file.Name(), pos, err)
		}
	}
	at := int(pos - s.from)
	return s.chunk[at : at+n], nil
}
