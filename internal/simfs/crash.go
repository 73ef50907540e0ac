package simfs

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// Crash cuts the power and returns the disk as the next process finds it. All that was synced is there. Of each file's
// unsynced writes a choice made by seed survives, sector by sector; of each directory's unsynced changes a prefix
// does. Equal histories and seeds give equal disks.
func (s *FS) Crash(seed uint64) *FS {
	return s.crash(&seeded{rand.New(rand.NewPCG(seed, 0))})
}

// CrashWorst cuts the power and keeps nothing that was not synced.
func (s *FS) CrashWorst() *FS { return s.crash(nothing{}) }

// Kill ends the process as kill -9 does and returns the disk for the next one: what was written is there, and what was
// not synced can still be lost by a later Crash.
func (s *FS) Kill() *FS {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	s.down = true
	s.d.used = 0
	s.d.root.walk(func(n *node) {
		n.opens = 0
		s.d.used += int64(len(n.data))
	})
	return &FS{d: s.d, locks: map[*node]bool{}}
}

func (s *FS) crash(p power) *FS {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	s.down = true
	d := &disk{
		capacity: s.d.capacity, mounts: maps.Clone(s.d.mounts),
		syncIsNoop: s.d.syncIsNoop, syncDirIsNoop: s.d.syncDirIsNoop,
	}
	d.root = d.survivor(s.d.root, p)
	return &FS{d: d, locks: map[*node]bool{}}
}

// power decides what a power cut leaves of what was not synced.
type power interface {
	// keepNames returns how many of n pending changes of a directory are on the disk.
	keepNames(n int) int
	// image returns the bytes of a file that has pending changes.
	image(n *node) []byte
}

// survivor copies what is left of n and of everything below it.
func (d *disk) survivor(n *node, p power) *node {
	if !n.isDir() {
		image := n.durable
		if len(n.pending) > 0 {
			image = p.image(n)
		}
		left := newFile()
		left.linked = true
		left.data, left.durable = slices.Clone(image), slices.Clone(image)
		d.used += int64(len(image))
		return left
	}
	names := maps.Clone(n.durableNames)
	for _, op := range n.pendingNames[:p.keepNames(len(n.pendingNames))] {
		op.apply(names)
	}
	left := newDir()
	left.linked = true
	for _, base := range slices.Sorted(maps.Keys(names)) {
		left.names[base] = d.survivor(names[base], p)
	}
	left.syncNames()
	return left
}

// nothing is the worst case.
type nothing struct{}

func (nothing) keepNames(int) int    { return 0 }
func (nothing) image(n *node) []byte { return n.durable }

// seeded draws from what disks do.
type seeded struct{ *rand.Rand }

func (r *seeded) keepNames(n int) int { return r.IntN(n + 1) }

func (r *seeded) image(n *node) []byte {
	switch r.IntN(4) {
	case 0:
		return n.durable
	case 1:
		return n.prefix(len(n.pending), 0)
	case 2:
		i := r.IntN(len(n.pending))
		first, end := n.pending[i].sectors()
		return n.prefix(i, r.Int64N(end-first+1))
	default:
		return r.mixture(n)
	}
}

// prefix returns the file after its first k pending changes and the first torn sectors of the next one.
func (n *node) prefix(k int, torn int64) []byte {
	image := slices.Clone(n.durable)
	for i := range n.pending[:k] {
		c := &n.pending[i]
		image = resize(c.apply(image, 0, c.off+c.n), c.size)
	}
	if torn > 0 {
		c := &n.pending[k]
		first, _ := c.sectors()
		image = c.apply(image, 0, (first+torn)*sector)
	}
	return image
}

// mixture gives each sector the contents it had after some number of the pending changes that touched it, and the
// file the size it had at some time since the last sync. Sectors within that size that never reached the disk are
// zeros, as after a crash of a real file system.
func (r *seeded) mixture(n *node) []byte {
	touched := map[int64]int{}
	for i := range n.pending {
		first, end := n.pending[i].sectors()
		for s := first; s < end; s++ {
			touched[s]++
		}
	}
	keep := make(map[int64]int, len(touched))
	for _, s := range slices.Sorted(maps.Keys(touched)) {
		keep[s] = r.IntN(touched[s] + 1)
	}
	image, size := slices.Clone(n.durable), int64(len(n.durable))
	chosen := r.IntN(len(n.pending) + 1)
	for i := range n.pending {
		c := &n.pending[i]
		first, end := c.sectors()
		for s := first; s < end; s++ {
			if keep[s]--; keep[s] >= 0 {
				image = c.apply(image, s*sector, (s+1)*sector)
			}
		}
		if i < chosen {
			size = c.size
		}
	}
	return resize(image, size)
}
