//go:build !race

package handler

// raceEnabled says that the race detector is on, which makes long tests too long.
const raceEnabled = false
