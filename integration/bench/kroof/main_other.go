//go:build !linux

// Command kroof is the limit server of the benchmarks. It is made of Linux system calls, so it exists on Linux only.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "kroof runs on Linux only")
	os.Exit(1)
}
