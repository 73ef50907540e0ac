// Package power cuts the power of a running broker, kills it and fills its disk, and then reads everything back: no
// record that was acknowledged may be lost, doubled or out of order, and offsets must be dense.
//
// It guarantees little about the broker unless it can fail, so it also runs brokers that are wrong on purpose (a Sync
// or SyncDir that does nothing, acknowledgements before the sync) and must catch each of them.
//
// The disk is an ext4 image on a loop device. A power cut is ext4's shutdown ioctl, which stops all writing at once,
// with the journal written out first or not; then kill -9, unmount and mount. What was not synced is gone, as it would
// be; the device's own write cache is not part of the picture. kill -9 alone loses nothing that was written: it proves
// restarts, not syncs. ext4 commits all names with the first file that is synced, so a missing directory sync would
// never show: for that the broker is built with the tag negativecontrol and told to write down its names
// (internal/vfs), and those that no SyncDir covered are taken back after the cut, as POSIX allows.
//
// It needs root, and Linux. The short form runs with all tests; the long one is
//
//	go test ./integration/power -count 1 -timeout 0 -v -run 'TestPowerCuts|TestKills' -rounds 5 -seed 1 -proof ../PROOF.md
//
// A round is ten cycles on a fresh disk. With -proof each round is appended to that file with its seed and commit, and
// rounds that stand there already are not run again, so that a long run can be interrupted.
package power
