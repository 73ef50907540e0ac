package log

import (
	"fmt"
	"io"

	"github.com/kbroker/kbroker/internal/vfs"
	"github.com/kbroker/kbroker/log/record"
)

// maxCleanBatch bounds the batches that the cleaner takes into memory, unless max.message.bytes is larger: more than any
// request may have by default. A larger one, which no client of today's settings could have written, stops the cleaning of
// its log.
const maxCleanBatch = 128 << 20

// batchReader reads the batches of a segment's file one after another, in large pieces.
type batchReader struct {
	file  vfs.File
	pos   int64 // of the bytes behind buf[:w]
	limit int64 // of the file
	most  int64 // size of a batch
	buf   []byte
	r, w  int               // buf[r:w] was read and not looked at
	paid  func(n int) error // called with the bytes of each read; it may wait, and its error ends the reading
}

// open starts at position from of a file. The buffer stays.
func (b *batchReader) open(file vfs.File, from, limit, most int64) {
	b.file, b.pos, b.limit, b.most, b.r, b.w = file, from, limit, most, 0, 0
}

// atEnd reports whether there is no batch left.
func (b *batchReader) atEnd() bool { return b.pos-int64(b.w-b.r) >= b.limit }

// next returns the next batch, valid until the following call, and io.EOF at the end. One that is not whole or whose
// checksum is wrong is an error that wraps ErrCorrupt: what is rebuilt of it would look sound.
func (b *batchReader) next() (record.Batch, error) {
	if b.atEnd() {
		return nil, io.EOF
	}
	at := b.pos - int64(b.w-b.r)
	if err := b.need(record.HeaderSize); err != nil {
		return nil, err
	}
	if err := record.CheckHeader(b.buf[b.r:b.w]); err != nil {
		return nil, fmt.Errorf("%s, position %d: %w: %w", b.file.Name(), at, err, ErrCorrupt)
	}
	size := record.Batch(b.buf[b.r:]).Size()
	if int64(size) > b.most && at+int64(size) <= b.limit {
		return nil, fmt.Errorf("%s, position %d: a batch of %d bytes is more than the cleaner takes, %d", b.file.Name(), at, size, b.most)
	}
	if err := b.need(size); err != nil {
		return nil, err
	}
	batch := record.Batch(b.buf[b.r : b.r+size])
	if !batch.VerifyCRC() {
		return nil, fmt.Errorf("%s, position %d: the batch has CRC %08x, its bytes have %08x: %w", b.file.Name(), at, batch.CRC(), batch.ComputeCRC(), ErrCorrupt)
	}
	b.r += size
	return batch, nil
}

// need reads until n bytes of the next batch are there.
func (b *batchReader) need(n int) error {
	if b.w-b.r >= n {
		return nil
	}
	left := b.limit - b.pos
	if int64(b.w-b.r)+left < int64(n) {
		return fmt.Errorf("%s, position %d: a batch of %d bytes, but only %d are left: %w", b.file.Name(), b.pos-int64(b.w-b.r), n, int64(b.w-b.r)+left, ErrCorrupt)
	}
	if n > len(b.buf) {
		b.buf = append(make([]byte, 0, n), b.buf[b.r:b.w]...)[:n]
	} else {
		copy(b.buf, b.buf[b.r:b.w])
	}
	b.w -= b.r
	b.r = 0
	want := int(min(int64(len(b.buf)-b.w), left))
	got, err := b.file.ReadAt(b.buf[b.w:b.w+want], b.pos)
	b.w += got
	b.pos += int64(got)
	if got < want {
		if err == io.EOF {
			err = fmt.Errorf("the file ends: %w", ErrCorrupt)
		}
		return fmt.Errorf("read %s, position %d: %w", b.file.Name(), b.pos, err)
	}
	return b.paid(got)
}
