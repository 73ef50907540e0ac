package log

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/kbroker/kbroker/internal/vfs"
	"github.com/kbroker/kbroker/log/record"
)

const (
	// verifyBytes is the size of recovery's reads: past 1 MiB the disk gives no more (measured).
	verifyBytes = 1 << 20
	// wholeBytes bounds the batches that are looked at in one piece; the checksum of larger ones is computed as the
	// pieces pass, so that no batch needs memory of its size.
	wholeBytes = verifyBytes / 2
)

// verifier reads the batches of a segment's file one after another, past the page cache, and verifies each: what the
// cache shows after a failed write-back is not what the disk has. Every byte is read once.
type verifier struct {
	seg  *segment
	file vfs.File // from OpenDirect
	size int64    // of the file
	pos  int64    // of the next batch
	next int64    // the least offset it may have
	read func(n int64)

	buf  []byte // from AlignedBuffer, verifyBytes long
	from int64  // position of buf[0], a multiple of DirectAlign
	have int    // bytes in buf
}

// errDamaged marks the first bad batch.
var errDamaged = errors.New("damaged")

// batch verifies the next batch: size, format, checksum and the order of offsets (rule 3.9.2). It returns the header,
// with the records behind it if whole is true, valid until the following call. At the end of the file the error is io.EOF; that of a
// bad batch wraps errDamaged, and anything else is the disk's.
func (v *verifier) batch() (b record.Batch, whole bool, err error) {
	left := v.size - v.pos
	if left <= 0 {
		return nil, false, io.EOF
	}
	if left < record.HeaderSize {
		return nil, false, fmt.Errorf("%d bytes are no batch: %w", left, errDamaged)
	}
	hdr, err := v.view(v.pos, record.HeaderSize)
	if err != nil {
		return nil, false, err
	}
	if err := v.checkHeader(hdr); err != nil {
		return nil, false, err
	}
	size := record.Batch(hdr).Size()
	if size <= wholeBytes {
		data, err := v.view(v.pos, size)
		if err != nil {
			return nil, false, err
		}
		b, whole = record.Batch(data), true
		if !b.VerifyCRC() {
			return nil, false, fmt.Errorf("the batch has CRC %08x, its bytes have %08x: %w", b.CRC(), b.ComputeCRC(), errDamaged)
		}
	} else {
		b = record.Batch(append([]byte(nil), hdr...))
		if err := v.checkLarge(b, size); err != nil {
			return nil, false, err
		}
	}
	v.pos += int64(size)
	v.next = b.LastOffset() + 1
	return b, whole, nil
}

func (v *verifier) checkHeader(hdr []byte) error {
	if err := record.CheckHeader(hdr); err != nil {
		return fmt.Errorf("%w: %w", err, errDamaged)
	}
	b := record.Batch(hdr)
	if int64(b.Size()) > v.size-v.pos {
		return fmt.Errorf("a batch of %d bytes is cut after %d: %w", b.Size(), v.size-v.pos, errDamaged)
	}
	if err := v.seg.checkOffsets(b, v.next); err != nil {
		return fmt.Errorf("%w: %w", err, errDamaged)
	}
	return nil
}

// crcFrom is where the bytes that a batch's checksum covers begin.
const crcFrom = 21

// checkLarge verifies the checksum of a batch that is not looked at in one piece.
func (v *verifier) checkLarge(b record.Batch, size int) error {
	var sum uint32
	for at, end := v.pos+crcFrom, v.pos+int64(size); at < end; {
		piece, err := v.view(at, int(min(end-at, wholeBytes)))
		if err != nil {
			return err
		}
		sum = crc32.Update(sum, castagnoli, piece)
		at += int64(len(piece))
	}
	if sum != b.CRC() {
		return fmt.Errorf("the batch has CRC %08x, its bytes have %08x: %w", b.CRC(), sum, errDamaged)
	}
	return nil
}

// view returns n ≤ wholeBytes bytes from position at, which is not below that of an earlier call.
func (v *verifier) view(at int64, n int) ([]byte, error) {
	if at+int64(n) > v.from+int64(v.have) {
		if err := v.fill(at); err != nil {
			return nil, err
		}
	}
	i := int(at - v.from)
	if i+n > v.have {
		return nil, fmt.Errorf("read %s, position %d: the file ends at %d instead of %d: %w", v.file.Name(), at, v.from+int64(v.have), v.size, io.ErrUnexpectedEOF)
	}
	return v.buf[i : i+n], nil
}

// fill moves the window so that it begins with the block of position at. What it holds from there on is kept.
func (v *verifier) fill(at int64) error {
	start := at &^ (vfs.DirectAlign - 1)
	kept := 0
	if end := v.from + int64(v.have); start < end && start >= v.from && end%vfs.DirectAlign == 0 {
		kept = copy(v.buf, v.buf[start-v.from:v.have])
	}
	v.from, v.have = start, kept
	want := len(v.buf) - kept
	if left := v.size - start - int64(kept); left < int64(want) { // whole blocks, the last one ends behind the file
		want = int((left + vfs.DirectAlign - 1) &^ (vfs.DirectAlign - 1))
	}
	n, err := v.file.ReadAt(v.buf[kept:kept+want], start+int64(kept))
	v.have += n
	v.read(int64(n))
	if err != nil && err != io.EOF {
		return err
	}
	return nil
}
