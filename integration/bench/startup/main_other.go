//go:build !linux

// Command startup measures how fast a broker starts. It reads /proc, so it exists on Linux only.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "startup runs on Linux only")
	os.Exit(1)
}
