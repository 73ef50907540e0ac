//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/kbroker/kbroker/integration/bench/proc"
)

// cpuClock is the CPU time of the whole machine and of what belongs to the benchmark, at one moment.
type cpuClock struct {
	at        time.Time
	busy, own float64 // seconds
}

// readCPU looks at the machine, at this process with its ended children, and at the given ones.
func readCPU(pids []int) cpuClock {
	c := cpuClock{at: time.Now()}
	b, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(b), "\n")
	for i, f := range strings.Fields(line) {
		const idle, iowait, steal = 4, 5, 8 // columns; what follows steal is counted in the others already
		if i == 0 || i == idle || i == iowait || i > steal {
			continue
		}
		n, _ := strconv.ParseFloat(f, 64)
		c.busy += n / proc.TicksPerSecond
	}
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var r syscall.Rusage
		_ = syscall.Getrusage(who, &r)
		c.own += float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
	}
	for _, pid := range pids {
		seconds, _, _ := proc.Usage(pid)
		c.own += seconds
	}
	return c
}

// others is how many cores were used on average, since the earlier reading, by what is not part of the benchmark. The
// kernel's own threads are among them, so writing to the disk shows as well.
func (c cpuClock) others(earlier cpuClock) float64 {
	return max(0, (c.busy-earlier.busy)-(c.own-earlier.own)) / c.at.Sub(earlier.at).Seconds()
}

// waitForQuiet waits until others leave the machine almost idle, but at most for patience.
func waitForQuiet(ctx context.Context, pids []int, patience time.Duration) {
	const quiet, look = 0.15, 300 * time.Millisecond
	for start := time.Now(); time.Since(start) < patience && ctx.Err() == nil; {
		before := readCPU(pids)
		time.Sleep(look)
		if readCPU(pids).others(before) < quiet {
			return
		}
	}
}

// warmMemory touches and frees so much memory that page cache of that size has physical pages behind it. On a virtual
// machine that returns free memory to its host, the first use of a page costs several times the work that is to be
// measured, and whoever runs first would pay for it.
func warmMemory(megabytes int) {
	m, err := syscall.Mmap(-1, 0, megabytes<<20, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		return // it only makes the measurement worse, and the first round is dropped
	}
	_ = syscall.Madvise(m, syscall.MADV_NOHUGEPAGE)
	for i := 0; i < len(m); i += os.Getpagesize() {
		m[i] = 1
	}
	_ = syscall.Munmap(m)
}

// describe says where and with what a run was made, as lines of a Markdown list.
func describe(binaries tools) []string {
	first := func(command string, args ...string) string {
		out, err := exec.Command(command, args...).CombinedOutput()
		if err != nil {
			return "unknown"
		}
		line, _, _ := strings.Cut(string(out), "\n")
		return strings.TrimSpace(line)
	}
	field := func(file, key string) string {
		b, _ := os.ReadFile(file)
		for line := range strings.Lines(string(b)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == key {
				return strings.TrimSpace(value)
			}
		}
		return "unknown"
	}
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	congestion, _ := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control")
	lines := []string{
		"date: " + time.Now().UTC().Format("2006-01-02 15:04 MST"),
		fmt.Sprintf("machine: %s, %d cores, %s of memory, Linux %s, TCP %s", field("/proc/cpuinfo", "model name"), runtime.NumCPU(),
			field("/proc/meminfo", "MemTotal"), strings.TrimSpace(string(release)), strings.TrimSpace(string(congestion))),
		fmt.Sprintf("built with %s; %s", runtime.Version(), first("java", "-version")),
	}
	if binaries.kbroker != "" {
		lines = append(lines, first(binaries.kbroker, "version"))
	}
	return lines
}
