//go:build !race

package record

// raceEnabled says that the race detector is on; its instrumentation allocates.
const raceEnabled = false
