package record

import (
	"bytes"

	"github.com/klauspost/compress/gzip"
)

// gzipReader decompresses gzip (RFC 1952), one member or several after each other.
type gzipReader struct {
	src bytes.Reader
	gz  gzip.Reader
}

func (r *gzipReader) reset(src []byte, _ limits) error {
	r.src.Reset(src)
	return cut(r.gz.Reset(&r.src))
}

func (r *gzipReader) release() { r.src.Reset(nil) }

func (r *gzipReader) Read(p []byte) (int, error) { return r.gz.Read(p) }
