package log

// Sequence numbers of idempotent producers run from 0 to 2^31−1 and then from 0 again (rules 2.1.4 and 4.1.2).

const sequenceMask = 1<<31 - 1

// addSequence returns the sequence n ≥ 0 after seq.
func addSequence(seq, n int32) int32 { return int32((uint32(seq) + uint32(n)) & sequenceMask) }

// subSequence returns the sequence n ≥ 0 before seq.
func subSequence(seq, n int32) int32 { return int32((uint32(seq) - uint32(n)) & sequenceMask) }

// inSequence reports whether first is the sequence that follows last; last is -1 when there is none, then it must be 0
// (rule 4.2.5).
func inSequence(last, first int32) bool {
	if last < 0 {
		return first == 0
	}
	return first == addSequence(last, 1)
}
