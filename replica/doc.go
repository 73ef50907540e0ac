// Package replica is a broker's side of replication: which partitions this node leads or follows, how far each is
// committed, and who waits for that.
//
// A Partition decides in a pure state (state.go) and acts in a thin shell: the shell holds one mutex over memory only,
// appends through log.Log, and tells waiters. There is no goroutine per partition. The HighWatermark lives here and not
// in log, since only the leader of a replica set knows it; it is the same function for one replica as for three.
//
// replica never talks to the controller: a composition root applies metadata images to a Manager, and sends what a
// Partition proposes.
package replica
