package broker

import (
	"sync"

	"github.com/kbroker/kbroker/log"
)

// Health is what /readyz says.
type Health struct {
	Ready      bool   `json:"ready"`
	Phase      string `json:"phase"`                 // what the node is doing while it is not ready
	Done       int64  `json:"done,omitempty"`        // logs recovered
	Total      int64  `json:"total,omitempty"`       // logs to recover
	BytesDone  int64  `json:"bytes_done,omitempty"`  // of log files read
	BytesTotal int64  `json:"bytes_total,omitempty"` // of log files to read, as far as it is known
	// Directories are the data directories that cannot be written to, of a node that is ready.
	Directories []DirHealth `json:"directories,omitempty"`
}

// DirHealth says what is wrong with a data directory: it is "full" or "failed".
type DirHealth struct {
	Path  string `json:"path"`
	State string `json:"state"`
}

// dirState is the state of a data directory as those see it who watch the node: one is also full when there is no room
// in it for a change of the cluster's metadata, whether or not anybody has produced since.
func (b *Broker) dirState(d *log.Dir) log.DirState {
	if s := d.State(); s != log.DirOK || d != b.metadataDir || !b.controller.DiskFull() {
		return s
	}
	return log.DirFull
}

// impaired returns the data directories that cannot be written to.
func (b *Broker) impaired() (dirs []DirHealth) {
	for _, d := range b.logs.Dirs() {
		if s := b.dirState(d); s != log.DirOK {
			dirs = append(dirs, DirHealth{d.Path(), s.String()})
		}
	}
	return dirs
}

// health is the node's state of service.
type health struct {
	mu sync.Mutex // guards state
	h  Health
}

// enter says what the node is busy with; it is not ready meanwhile.
func (x *health) enter(phase string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.h = Health{Phase: phase}
}

// progress says how far the recovery is.
func (x *health) progress(p log.Progress) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.h.Done, x.h.Total, x.h.BytesDone, x.h.BytesTotal = p.LogsDone, p.Logs, p.BytesDone, p.Bytes
}

// ready says that clients are served.
func (x *health) ready() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.h = Health{Ready: true, Phase: "ready"}
}

func (x *health) now() Health {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.h
}
