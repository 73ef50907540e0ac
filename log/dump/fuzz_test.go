package dump

import (
	"errors"
	"io"
	"os"
	"slices"
	"testing"

	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/log/record"
)

// FuzzDumpSegment prints damaged segments. The fuzzer could not guess checksums, so that those of the batches are put
// right.
func FuzzDumpSegment(f *testing.F) {
	tree := kafkaTree(f, "clean-shutdown")
	for _, pattern := range []string{"codecs-java-0/*.log", "compacted-txn-0/*00000.log"} {
		for _, name := range glob(f, tree, pattern) {
			data, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			for b, rest, err := record.Next(data); b != nil && err == nil; b, rest, err = record.Next(rest) {
				f.Add([]byte(b)) // one batch a seed: what is small mutates fast
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		data = slices.Clone(data)
		for rest := data; len(rest) > 0; {
			b, next, err := record.Next(rest)
			if err != nil {
				break
			}
			b.Reseal()
			rest = next
		}
		disk := diskWith(t, "/d/5.log", data)
		for _, o := range []Options{{Records: true}, {Records: true, JSON: true}} {
			if err := File(io.Discard, disk, "/d/5.log", o); err != nil && !errors.Is(err, log.ErrCorrupt) {
				t.Fatal(err)
			}
		}
	})
}
