package log

import (
	"fmt"
	"io"

	"github.com/kbroker/kbroker/internal/vfs"
)

// floor finds the last entry for which le is true, copies it to out and returns its number, or -1 when le is false for
// all. le must be true up to some entry and false from there on.
func (f *entryFile) floor(le func(entry []byte) bool, out []byte) (int64, error) {
	f.mu.RLock()
	if len(f.tail) > 0 && le(f.tail[:f.width]) {
		i := searchEntries(f.tail, f.width, le)
		copy(out, f.tail[i*f.width:(i+1)*f.width])
		i += f.written
		f.mu.RUnlock()
		return i, nil
	}
	written := f.written
	f.mu.RUnlock()
	if written == 0 {
		return -1, nil
	}
	if err := f.verify(); err != nil {
		return -1, err
	}
	return f.floorInFile(written, le, out)
}

// floorInFile is floor over the first n entries of the file: a binary search over blocks by their first entries, then
// one read of the block.
func (f *entryFile) floorInFile(n int64, le func(entry []byte) bool, out []byte) (int64, error) {
	file, err := f.forReading()
	if err != nil {
		return -1, err
	}
	defer file.release()
	scratch := f.scratch.Swap(nil)
	if scratch == nil {
		scratch = new([scratchBytes]byte)
	}
	defer f.scratch.Store(scratch)
	per := scratchBytes / f.width // entries per block
	lo, hi := int64(-1), (n+per-1)/per
	for hi-lo > 1 { // le holds at the start of block lo, not at that of hi
		mid := (lo + hi) / 2
		if err := f.readEntries(file, scratch[:f.width], mid*per); err != nil {
			return -1, err
		}
		if le(scratch[:f.width]) {
			lo = mid
		} else {
			hi = mid
		}
	}
	if lo < 0 {
		return -1, nil
	}
	block := scratch[:min(per, n-lo*per)*f.width]
	if err := f.readEntries(file, block, lo*per); err != nil {
		return -1, err
	}
	i := searchEntries(block, f.width, le)
	copy(out, block[i*f.width:(i+1)*f.width])
	return lo*per + i, nil
}

// searchEntries returns the number of the last of entries for which le is true; le is true for the first.
func searchEntries(entries []byte, width int64, le func(entry []byte) bool) int64 {
	lo, hi := int64(0), int64(len(entries))/width
	for hi-lo > 1 {
		mid := (lo + hi) / 2
		if le(entries[mid*width : (mid+1)*width]) {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// readEntries fills buf with entries from number i on.
func (f *entryFile) readEntries(file vfs.File, buf []byte, i int64) error {
	n, err := file.ReadAt(buf, i*f.width)
	if n == len(buf) {
		return nil
	}
	if err == io.EOF {
		return fmt.Errorf("index %s: the file ends before entry %d: %w", f.path, i+int64(n)/f.width, ErrCorrupt)
	}
	return fmt.Errorf("read index %s: %w", f.path, err)
}

// entry copies entry number i, which is below count, to out.
func (f *entryFile) entry(i int64, out []byte) error {
	f.mu.RLock()
	if at := (i - f.written) * f.width; at >= 0 && at < int64(len(f.tail)) {
		copy(out, f.tail[at:at+f.width])
		f.mu.RUnlock()
		return nil
	}
	f.mu.RUnlock()
	file, err := f.forReading()
	if err != nil {
		return err
	}
	defer file.release()
	return f.readEntries(file, out[:f.width], i)
}

// verify checks every entry of a file that was found on disk, once (rule 3.2.7). It is not done when the log is
// loaded: a start reads no more of a sealed segment than its size.
func (f *entryFile) verify() error {
	if f.verified.Load() {
		return nil
	}
	var prev []byte
	var last [34]byte
	err := f.scan(0, func(i int64, entry []byte) error {
		if err := f.check(prev, entry); err != nil {
			return fmt.Errorf("index %s, entry %d: %w", f.path, i, err)
		}
		prev = last[:copy(last[:], entry)]
		return nil
	})
	if err == nil {
		f.verified.Store(true)
	}
	return err
}
