//go:build linux

package main

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/kbroker/kbroker/integration/bench/proc"
)

// meter counts what the connections of one measurement did. Their goroutines add to it; the main goroutine turns
// measuring on and off and ends them through stop.
type meter struct {
	bytes, records, requests atomic.Int64
	measuring, stop          atomic.Bool

	o *options
}

// reading is the meter at one moment, with the CPU time of both sides.
type reading struct {
	at                       time.Time
	bytes, records, requests int64
	clientCPU, brokerCPU     float64 // seconds
	brokerRSS                int64   // MB
}

func (m *meter) read() reading {
	r := reading{at: time.Now(), bytes: m.bytes.Load(), records: m.records.Load(), requests: m.requests.Load()}
	r.clientCPU = ownCPU()
	r.brokerCPU, r.brokerRSS = processCPU(m.o.pid)
	return r
}

// rates prints what happened between two readings.
func rates(from, to reading) string {
	seconds := to.at.Sub(from.at).Seconds()
	gigabytes := float64(to.bytes-from.bytes) / 1e9
	requests := float64(to.requests - from.requests)
	broker := to.brokerCPU - from.brokerCPU
	return fmt.Sprintf("MB/s=%.1f krec/s=%.1f req/s=%.0f broker_cpu_s/GB=%.3f broker_cpu_us/req=%.1f client_cpu_s/GB=%.3f broker_rss_MB=%d",
		gigabytes*1000/seconds, float64(to.records-from.records)/seconds/1000, requests/seconds,
		broker/gigabytes, broker*1e6/requests, (to.clientCPU-from.clientCPU)/gigabytes, to.brokerRSS)
}

// ownCPU returns the CPU seconds of this process.
func ownCPU() float64 {
	var r syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &r))
	return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
}

// processCPU returns the CPU seconds and the resident memory in MB of process pid, or zeros when pid is zero.
func processCPU(pid int) (seconds float64, rss int64) {
	if pid == 0 {
		return 0, 0
	}
	seconds, resident, err := proc.Usage(pid)
	must(err)
	return seconds, int64(resident)
}

// latencies collects durations in nanoseconds.
type latencies struct {
	mu  sync.Mutex // guards all
	all []int64
}

func (l *latencies) add(some []int64) {
	l.mu.Lock()
	l.all = append(l.all, some...)
	l.mu.Unlock()
}

// String gives quantiles in microseconds. It is called when nothing is added any more.
func (l *latencies) String() string {
	if len(l.all) == 0 {
		return "lat=none"
	}
	slices.Sort(l.all)
	q := func(p float64) float64 { return float64(l.all[int(float64(len(l.all)-1)*p)]) / 1000 }
	return fmt.Sprintf("us_p50=%.0f us_p95=%.0f us_p99=%.0f us_p999=%.0f us_max=%.0f", q(.5), q(.95), q(.99), q(.999), q(1))
}

// lockForPreciseSleep ties the goroutine to its thread and gives that thread 1 ns of timer slack.
func lockForPreciseSleep() {
	runtime.LockOSThread()
	const prSetTimerslack = 29
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, prSetTimerslack, 1, 0)
}

// preciseSleep sleeps until t on a locked thread (Go's own timers are about 1 ms late on an idle machine) and
// returns the time from which latency counts: the moment of waking if it slept, or t if t is past already, since
// then the delay is the broker's.
func preciseSleep(t time.Time) time.Time {
	d := time.Until(t)
	if d <= 0 {
		return t
	}
	ts := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&ts, nil)
	return time.Now()
}
