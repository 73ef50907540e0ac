//go:build linux

package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// TicksPerSecond is USER_HZ, the same on every Linux that Go runs on.
const TicksPerSecond = 100

// Usage returns the CPU seconds that a process has used, its ended threads included, in hundredths of a second, and its
// resident memory in decimal MB.
func Usage(pid int) (seconds, residentMB float64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	// The fields are counted from behind the command's name, which may hold blanks.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+2:]))
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	pages, _ := strconv.ParseInt(fields[21], 10, 64)
	return (user + system) / TicksPerSecond, float64(pages*int64(os.Getpagesize())) / 1e6, nil
}

// CPU returns the CPU time that a process has used, its ended threads included, to the nanosecond. A process that is not
// there has used none.
func CPU(pid int) time.Duration {
	// The kernel's name for the clock of all threads of a process; see clock_getcpuclockid(3).
	const scheduled = 2
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|scheduled, &t); pid <= 0 || err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// ThreadsCPU adds up the CPU time of a process's threads from schedstat, which counts nanoseconds where Usage counts
// hundredths of a second. Threads that ended are not in it: good enough for an idle process.
func ThreadsCPU(pid int) time.Duration {
	var sum time.Duration
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, f := range files {
		b, _ := os.ReadFile(f)
		if fields := strings.Fields(string(b)); len(fields) > 0 {
			n, _ := strconv.ParseInt(fields[0], 10, 64)
			sum += time.Duration(n)
		}
	}
	return sum
}
