//go:build !linux

// Command kgroup puts load on a group coordinator. It reads /proc, so it exists on Linux only.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "kgroup runs on Linux only")
	os.Exit(1)
}
