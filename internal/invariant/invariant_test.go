package invariant

import (
	"errors"
	"testing"
)

func TestViolationPanics(t *testing.T) {
	tests := map[string]struct {
		check func()
		want  string
	}{
		"Check":  {func() { Check(false, "end is not below start") }, "invariant violated: end is not below start"},
		"Checkf": {func() { Checkf(false, "end %d ≥ start %d", 3, 5) }, "invariant violated: end 3 ≥ start 5"},
		"holds":  {func() { Check(true, "x"); Checkf(true, "x %d", 1) }, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := ""
			func() {
				defer func() {
					if err, ok := recover().(error); ok {
						var v *Violation
						if !errors.As(err, &v) {
							t.Errorf("panic with %T, want *Violation", err)
						}
						got = err.Error()
					}
				}()
				test.check()
			}()
			if got != test.want {
				t.Errorf("panic %q, want %q", got, test.want)
			}
		})
	}
}

func TestCheckAllocatesNothing(t *testing.T) {
	n := 0
	if allocs := testing.AllocsPerRun(100, func() { n++; Check(n > 0, "n is positive") }); allocs != 0 {
		t.Errorf("%v allocations per Check", allocs)
	}
}
