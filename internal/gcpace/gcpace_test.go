package gcpace

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestNext(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		name     string
		percent  int
		live     int64
		interval time.Duration
		want     int
	}{
		{"busy and small", 100, 6 * mib, 100 * time.Millisecond, 300},
		{"busy and tiny", 100, 2 * mib, 100 * time.Millisecond, 400},
		{"busy and large", 100, 15 * mib, 100 * time.Millisecond, 100},
		{"larger than all that is given", 100, 300 * mib, 100 * time.Millisecond, 100},
		{"not busy", 100, 6 * mib, 2 * time.Second, 100},
		{"still busy, though slower for it", 300, 6 * mib, 2 * time.Second, 300},
		{"a little more", 300, 6*mib + mib/4, time.Second, 300},
		{"grown", 300, 8 * mib, time.Second, 200},
		{"grown beyond", 300, 64 * mib, time.Second, 100},
		{"quiet", 300, 6 * mib, time.Minute, 100},
		{"nothing known", 100, 0, time.Millisecond, 100},
	} {
		if got := next(c.percent, c.live, c.interval); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// TestPacer has a small heap collected again and again, and looks at what that does to the pace.
func TestPacer(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	before := debug.SetGCPercent(defaultPercent)
	defer debug.SetGCPercent(before)
	p := Start()
	if p == nil {
		t.Fatal("the collector is not paced")
	}
	percent := func() int {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.percent
	}
	for percent() == defaultPercent {
		runtime.GC() // until its cleanups have run
	}
	set := debug.SetGCPercent(defaultPercent)
	if set == defaultPercent {
		t.Error("the collector has not been told")
	}
	debug.SetGCPercent(set)
	p.Stop()
	if set := debug.SetGCPercent(defaultPercent); set != defaultPercent {
		t.Error("after the end the percentage is", set)
	}
}

func TestEnvironmentWins(t *testing.T) {
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		t.Setenv("GOGC", "")
		t.Setenv("GOMEMLIMIT", "")
		t.Setenv(name, "300")
		if p := Start(); p != nil {
			p.Stop()
			t.Error("paced in spite of", name)
		}
	}
}
