// Package log is one replica's log on disk, in Kafka's format, and the Manager of all logs of a broker. It is never
// logging: that is log/slog, passed in as a value named logger.
//
// # What it guarantees
//
//   - What DurableEnd returned is on the disk: the file's data, its name in the partition's directory and that
//     directory's name. Only the Committer of the data directory moves it, after its syncs.
//   - What End returned is in the file and can be read. Offsets are dense for appends of a leader, batches are whole.
//   - A batch is never split: roll, truncation and recovery cut between batches.
//   - After a crash a log ends where its first bad batch begins, at or above everything that was acknowledged;
//     otherwise it says that it lost data (Log.Loss) and takes no appends.
//   - A full disk refuses appends and nothing else. A disk that fails a write or a sync is not written again.
//
// # Locks
//
// There are two per log, taken in this order: appendMu, which serializes writing to the active segment and is the one
// lock of the broker held over a system call (pwrite, never a sync); and mu, for what is in memory. Readers take neither
// for sealed segments, and mu for a moment in the active one. FORMAT.md describes the files.
package log
