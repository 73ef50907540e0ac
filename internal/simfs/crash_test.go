package simfs

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/kbroker/kbroker/internal/vfs"
)

// shadow is what a test knows of one file.
type shadow struct {
	f       vfs.File
	written []byte // as processes see it
	synced  []byte // as of the last Sync
	clean   bool   // nothing written since
	named   bool   // its name has been synced since it was made
}

// TestNoCrashTakesWhatWasSynced writes, truncates and syncs at random and then cuts the power: a file whose name was
// synced is there, one that was not written since its last sync is exactly as it was then, and no file is longer than
// it ever was.
func TestNoCrashTakesWhatWasSynced(t *testing.T) {
	for seed := range uint64(300) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 2))
			s, files, longest := New(), map[string]*shadow{}, 0
			for range 60 {
				name := fmt.Sprintf("/%d", rng.IntN(4))
				sh := files[name]
				if sh == nil {
					sh = &shadow{f: open(t, s, name), clean: true}
					files[name] = sh
				}
				sh.step(t, s, rng, files)
				longest = max(longest, len(sh.written))
			}
			if seed%5 == 0 {
				checkShadows(t, s.CrashWorst(), files, longest)
			} else {
				checkShadows(t, s.Crash(seed), files, longest)
			}
		})
	}
}

// step does one random operation on the file, or syncs all names.
func (sh *shadow) step(t *testing.T, s *FS, rng *rand.Rand, files map[string]*shadow) {
	switch rng.IntN(6) {
	case 0:
		must(t, sh.f.Sync())
		sh.synced, sh.clean = bytes.Clone(sh.written), true
	case 1:
		must(t, s.SyncDir("/"))
		for _, other := range files {
			other.named = true
		}
	case 2:
		size := rng.IntN(3000)
		must(t, sh.f.Truncate(int64(size)))
		sh.written, sh.clean = resize(bytes.Clone(sh.written), int64(size)), false
	default:
		data := bytes.Repeat([]byte{byte(rng.IntN(256))}, 1+rng.IntN(1500))
		off := rng.IntN(2000)
		put(t, sh.f, string(data), int64(off))
		sh.written = resize(bytes.Clone(sh.written), int64(max(len(sh.written), off+len(data))))
		copy(sh.written[off:], data)
		sh.clean = false
	}
}

func checkShadows(t *testing.T, s *FS, files map[string]*shadow, longest int) {
	t.Helper()
	for name, sh := range files {
		got := content(t, s, name)
		switch {
		case got == "absent":
			if sh.named {
				t.Errorf("%s is gone although its name was synced", name)
			}
		case sh.clean && got != string(sh.synced):
			t.Errorf("%s has %d bytes unlike the %d that were synced", name, len(got), len(sh.synced))
		case len(got) > longest:
			t.Errorf("%s has %d bytes, more than it ever had", name, len(got))
		}
	}
}
