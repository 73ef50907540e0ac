package log

// Counters is what a data directory did since the start of the process.
type Counters struct {
	CommitRounds int64 // rounds of the Committer that had something to make durable
	Syncs        int64 // calls to the file system's sync of log files, or of everything at once
}

// Counters returns the directory's counters.
func (d *Dir) Counters() Counters {
	return Counters{CommitRounds: d.committer.rounds.Load(), Syncs: d.committer.syncs.Load()}
}

// ProducerCount returns the number of producers that the log remembers (rule 4.4).
func (l *Log) ProducerCount() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.producers.index)
}
