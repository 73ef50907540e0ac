// Package invariant states what must be true whatever clients, peers and disks do. A check that fails is a bug in
// kbroker: it panics, since going on could spread the damage to disk or to replicas.
//
// It guarantees that what is passed to Check costs one comparison when it holds. Never use it for input: bad input
// gets an error. Checks that cost more than a few comparisons belong behind Expensive.
package invariant

import "fmt"

// Violation is the value of the panic.
type Violation struct{ Message string }

func (v *Violation) Error() string { return "invariant violated: " + v.Message }

// Check panics with a *Violation unless holds. The message says what must hold.
func Check(holds bool, message string) {
	if !holds {
		panic(&Violation{message})
	}
}

// Checkf is Check with a message that gives values, formatted only on failure. Its arguments may allocate even when
// it holds, so hot paths call it inside an if.
func Checkf(holds bool, format string, args ...any) {
	if !holds {
		panic(&Violation{fmt.Sprintf(format, args...)})
	}
}
