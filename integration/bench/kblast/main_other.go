//go:build !linux

// Command kblast is a Kafka load generator. It reads /proc and needs nanosleep, so it exists on Linux only.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "kblast runs on Linux only")
	os.Exit(1)
}
