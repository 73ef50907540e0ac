package broker

import (
	"testing"

	"github.com/kbroker/kbroker/internal/vfs"
)

// TestDiskBytes: Linux tells what the process moved.
func TestDiskBytes(t *testing.T) {
	b := &Broker{o: Options{FS: vfs.OS()}}
	if _, ok := b.processIO("write_bytes: "); !ok {
		t.Error("nothing is told")
	}
	if _, ok := b.processIO("bogus: "); ok {
		t.Error("something is told that is not there")
	}
}
