// Package kbrokerproc runs the kbroker of this source tree as a process of its own, for tests and measurements that
// drive it from outside as a user does: over the network, with signals, on a real disk. What it starts listens on
// loopback only and does not outlive the test process.
package kbrokerproc

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// BinaryVariable names a kbroker to run instead of building one.
const BinaryVariable = "KBROKER_BINARY"

// Build builds kbroker and returns the path of the binary, which lies in the user's cache, where every build replaces
// the last one at once and Go's build cache makes it quick. Environment variable KBROKER_BINARY names one to use
// instead, unless build tags are asked for. It must be called inside the source tree.
func Build(ctx context.Context, tags ...string) (string, error) {
	if path := os.Getenv(BinaryVariable); path != "" && len(tags) == 0 {
		return path, nil
	}
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("kbrokerproc: finding the source tree: %w", err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("kbrokerproc: finding a cache directory (set %s to do without one): %w", BinaryVariable, err)
	}
	dir := filepath.Join(cache, "kbroker-kbrokerproc")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("kbrokerproc: %w", err)
	}
	// One name per source tree, since several may be tested at once on one machine.
	name := strings.NewReplacer("/", "-", `\`, "-", ":", "-").Replace(strings.TrimSpace(string(root)))
	binary := filepath.Join(dir, strings.Join(append([]string{"kbroker"}, tags...), "+")+name)
	if runtime.GOOS == "windows" {
		binary += ".exe"
	}
	own, err := os.MkdirTemp(dir, "build-") // tests of one process build at once, too
	if err != nil {
		return "", fmt.Errorf("kbrokerproc: %w", err)
	}
	defer os.RemoveAll(own)
	fresh := filepath.Join(own, filepath.Base(binary))
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", strings.Join(tags, ","), "-o", fresh, "./cmd/kbroker")
	cmd.Dir = strings.TrimSpace(string(root))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("kbrokerproc: building kbroker: %w\n%s", err, out)
	}
	// Another test may be running the old binary: it keeps that file.
	if err := os.Rename(fresh, binary); err != nil {
		return "", fmt.Errorf("kbrokerproc: %w", err)
	}
	return binary, nil
}

// StartForTest builds kbroker, starts it and ends it with the test, which fails if any of this does.
func StartForTest(tb testing.TB, cfg Config) *Node {
	tb.Helper()
	binary, err := Build(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	n, err := Start(tb.Context(), binary, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("the end of kbroker's log:\n%s", n.LogTail())
		}
		n.Close()
	})
	return n
}
