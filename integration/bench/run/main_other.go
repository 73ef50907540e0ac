//go:build !linux

// Command run is the benchmark harness. It measures Linux processes through /proc, so it exists on Linux only.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "the benchmarks run on Linux only")
	os.Exit(1)
}
