//go:build race

package vfs

// raceEnabled says that the race detector is on; its instrumentation allocates.
const raceEnabled = true
