//go:build !linux

package vfs

// WritevAt is one write per buffer where the system has no pwritev that package unix offers.
func (f *osFile) WritevAt(bufs [][]byte, off int64) (int64, error) {
	var total int64
	for _, b := range bufs {
		n, err := f.File.WriteAt(b, off+total)
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
	return total, nil
}
