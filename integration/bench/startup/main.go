//go:build linux

// Command startup runs a broker's command line and reports the milliseconds from exec to the first accepted
// connection, the first ApiVersions answer and the first acknowledged Produce (of one record of 10 bytes, to a topic
// that it creates), then the resident memory and CPU use of the idle broker, and the milliseconds from SIGTERM to its
// exit. The result is one line of key=value pairs, the medians of -n runs.
//
//	startup -addr 127.0.0.1:9092 [-n 5] [-idle 6s] -- COMMAND ARGUMENT…
//
// Between two runs nothing is deleted: for a first start each time, use -n 1 and a fresh directory.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"github.com/kbroker/kbroker/integration/bench/proc"
)

// patience bounds every wait for the broker.
const patience = time.Minute

// result is what one run measured. Times are in milliseconds.
type result struct {
	accept, apiVersions, produce, exit float64
	idleMB, idlePercent                float64
}

func main() {
	addr := flag.String("addr", "127.0.0.1:9092", "where the broker will listen")
	runs := flag.Int("n", 5, "runs")
	idle := flag.Duration("idle", 3*time.Second, "time to stay idle; CPU use is that of its second half")
	flag.Parse()
	var all []result
	for range *runs {
		r, err := run(*addr, *idle, flag.Args())
		if err != nil {
			fmt.Fprintln(os.Stderr, "startup:", err)
			os.Exit(1)
		}
		all = append(all, r)
	}
	median := func(of func(result) float64) float64 {
		var v []float64
		for _, r := range all {
			v = append(v, of(r))
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	fmt.Printf("startup runs=%d accept_ms=%.1f apiversions_ms=%.1f first_produce_ms=%.1f exit_ms=%.1f idle_rss_MB=%.1f idle_cpu_pct=%.3f\n",
		*runs,
		median(func(r result) float64 { return r.accept }),
		median(func(r result) float64 { return r.apiVersions }),
		median(func(r result) float64 { return r.produce }),
		median(func(r result) float64 { return r.exit }),
		median(func(r result) float64 { return r.idleMB }),
		median(func(r result) float64 { return r.idlePercent }))
}

// run measures one life of the broker. It is killed when something fails.
func run(addr string, idle time.Duration, command []string) (r result, err error) {
	if len(command) == 0 {
		return r, fmt.Errorf("no command given")
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
		return r, fmt.Errorf("something listens on %s already", addr)
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = os.Stderr
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return r, err
	}
	exited := false
	defer func() {
		if !exited {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}()
	since := func(t time.Time) float64 { return float64(time.Since(t).Microseconds()) / 1000 }
	b := &broker{addr: addr, deadline: start.Add(patience)}
	defer b.close()
	if err := b.connect(); err != nil {
		return r, err
	}
	r.accept = since(start)
	if err := b.apiVersions(); err != nil {
		return r, err
	}
	r.apiVersions = since(start)
	if err := b.firstProduce(); err != nil {
		return r, err
	}
	r.produce = since(start)
	time.Sleep(idle / 2)
	before, from := proc.ThreadsCPU(cmd.Process.Pid), time.Now()
	time.Sleep(idle / 2)
	r.idlePercent = (proc.ThreadsCPU(cmd.Process.Pid) - before).Seconds() * 100 / time.Since(from).Seconds()
	_, r.idleMB, _ = proc.Usage(cmd.Process.Pid)
	b.close()
	stop := time.Now()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return r, err
	}
	_ = cmd.Wait() // Java exits with 143 on SIGTERM
	exited = true
	r.exit = since(stop)
	return r, nil
}
