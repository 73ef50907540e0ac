package clients

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// millionLines is what kcat writes and reads for each codec.
const millionLines = 1_000_000

// TestKcatMillion sends a million lines through the broker with kcat, with each codec, and compares checksums. One
// partition keeps them in order.
func TestKcatMillion(t *testing.T) {
	bootstrap := startBroker(t)
	file := filepath.Join(t.TempDir(), "lines")
	want := writeLines(t, file)
	for _, codec := range codecs {
		t.Run(codec, func(t *testing.T) {
			topic := "million-" + codec
			create(t, bootstrap, 1, topic)
			start := time.Now()
			kcat := exec.CommandContext(t.Context(), "kcat", "-P", "-b", bootstrap, "-t", topic, "-p", "0", "-z", codec, "-l", file)
			if out, err := kcat.CombinedOutput(); err != nil {
				t.Fatalf("%v: %v\n%s", kcat, err, out)
			}
			written := time.Now()
			sum := sha256.New()
			lines := &lineCounter{Hash: sum}
			kcat = exec.CommandContext(t.Context(), "kcat", "-C", "-b", bootstrap, "-t", topic, "-p", "0", "-o", "beginning", "-e", "-q")
			kcat.Stdout, kcat.Stderr = lines, os.Stderr
			if err := kcat.Run(); err != nil {
				t.Fatalf("%v: %v", kcat, err)
			}
			if got := hex.EncodeToString(sum.Sum(nil)); got != want || lines.n != millionLines {
				t.Errorf("read %d lines with checksum %s, wrote %d with %s", lines.n, got, millionLines, want)
			}
			t.Logf("%d lines with %s: written in %v, read in %v, equal by checksum %.12s…",
				lines.n, codec, written.Sub(start).Round(time.Millisecond), time.Since(written).Round(time.Millisecond), want)
		})
	}
}

// lineCounter counts the lines that pass it.
type lineCounter struct {
	hash.Hash
	n int
}

func (c *lineCounter) Write(b []byte) (int, error) {
	for _, x := range b {
		if x == '\n' {
			c.n++
		}
	}
	return c.Hash.Write(b)
}

// writeLines fills the file with numbered lines of 10 to 130 letters and returns its SHA-256.
func writeLines(t *testing.T, name string) string {
	t.Helper()
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	const seed = 1
	random := rand.New(rand.NewPCG(seed, 0))
	letters := make([]byte, 1<<16)
	for i := range letters {
		letters[i] = 'a' + byte(random.IntN(26))
	}
	sum := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(file, sum), 1<<20)
	for i := range millionLines {
		from, n := random.IntN(len(letters)-128), 4+random.IntN(120)
		fmt.Fprintf(w, "%07d %s\n", i, letters[from:from+n])
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(sum.Sum(nil))
}
