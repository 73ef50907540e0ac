//go:build invariants

package invariant

// Expensive says whether costly checks run: in builds with the tag invariants, so that
//
//	if invariant.Expensive { … }
//
// leaves nothing behind in others.
const Expensive = true
