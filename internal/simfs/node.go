package simfs

import (
	"io/fs"
	"maps"
	"slices"
	"time"
)

// sector is the unit that a disk writes whole or not at all, in bytes.
const sector = 512

// node is one file or directory. Everything in it is guarded by disk.mu.
type node struct {
	modified time.Time

	// A file. data is what reads see (the page cache), durable what is on the disk for certain, pending how the one
	// became the other since the last sync.
	data    []byte
	durable []byte
	pending []change
	// lost holds the sectors whose pending writes a failed sync dropped: cached reads still see the new bytes, the
	// disk has the old ones, and no later sync will write them (unless they are written again).
	lost map[int64]bool
	// opens counts open files, linked says whether a name leads here; a file with neither takes no space.
	opens  int
	linked bool

	// A directory; names is nil for a file.
	names        map[string]*node
	durableNames map[string]*node
	pendingNames []nameOp
}

// change is one write or truncation. It puts bytes (zeros where data is nil) at [off, off+n) and sets the file's size.
type change struct {
	off, n int64
	data   []byte
	size   int64 // of the file, after it
}

func newFile() *node { return &node{modified: time.Now()} }

func newDir() *node {
	return &node{modified: time.Now(), names: map[string]*node{}, durableNames: map[string]*node{}}
}

func (n *node) isDir() bool { return n.names != nil }

// apply writes the part of c that lies in [from, to) to image, growing it as needed.
func (c *change) apply(image []byte, from, to int64) []byte {
	from, to = max(from, c.off), min(to, c.off+c.n)
	if from >= to {
		return image
	}
	image = resize(image, max(int64(len(image)), to))
	if c.data == nil {
		clear(image[from:to])
	} else {
		copy(image[from:to], c.data[from-c.off:])
	}
	return image
}

// sectors returns the numbers of the first sector that c touches and of the first behind it.
func (c *change) sectors() (first, end int64) {
	if c.n == 0 {
		return 0, 0
	}
	return c.off / sector, (c.off + c.n + sector - 1) / sector
}

// resize cuts b or extends it with zeros to n bytes.
func resize(b []byte, n int64) []byte {
	if n <= int64(len(b)) {
		return b[:n]
	}
	old := len(b)
	b = slices.Grow(b, int(n)-old)[:n]
	clear(b[old:])
	return b
}

// write puts p at off, in the page cache only.
func (n *node) write(p []byte, off int64) {
	end := off + int64(len(p))
	n.data = resize(n.data, max(int64(len(n.data)), end))
	copy(n.data[off:end], p)
	n.modified = time.Now()
	// Writing to a lost sector makes all of it dirty again.
	first, last := off/sector, (end-1)/sector
	if n.lost[first] {
		off = first * sector
	}
	if n.lost[last] {
		end = min((last+1)*sector, int64(len(n.data)))
	}
	for s := first; s <= last; s++ {
		delete(n.lost, s)
	}
	n.pending = append(n.pending, change{off: off, n: end - off, data: slices.Clone(n.data[off:end]), size: int64(len(n.data))})
}

// truncate sets the size, in the page cache only.
func (n *node) truncate(size int64) {
	c := change{off: size, n: max(int64(len(n.data))-size, 0), size: size}
	n.data = resize(n.data, size)
	n.modified = time.Now()
	n.pending = append(n.pending, c)
}

// syncData makes what was written durable, except for lost sectors.
func (n *node) syncData() {
	for i := range n.pending {
		c := &n.pending[i]
		n.durable = resize(c.apply(n.durable, 0, c.off+c.n), c.size)
	}
	n.durable = resize(n.durable, int64(len(n.data)))
	n.pending = nil
}

// loseUnsynced is what a failed sync does: the pages count as clean, and the disk never gets them.
func (n *node) loseUnsynced() {
	for i := range n.pending {
		first, end := n.pending[i].sectors()
		for s := first; s < end; s++ {
			if n.lost == nil {
				n.lost = map[int64]bool{}
			}
			n.lost[s] = true
		}
	}
	n.pending = nil
}

// readDirect copies what a read past the page cache sees at off: such a read writes dirty pages out first, but finds
// the disk's bytes where the cache has clean ones that never got there.
func (n *node) readDirect(p []byte, off int64) int {
	if off >= int64(len(n.data)) {
		return 0
	}
	count := copy(p, n.data[off:])
	for s := off / sector; s*sector < off+int64(count); s++ {
		if !n.lost[s] {
			continue
		}
		from, to := max(s*sector, off), min((s+1)*sector, off+int64(count))
		got := 0
		if from < int64(len(n.durable)) {
			got = copy(p[from-off:to-off], n.durable[from:])
		}
		clear(p[from-off+int64(got) : to-off])
	}
	return count
}

// walk calls fn for n and everything below it, in name order.
func (n *node) walk(fn func(*node)) {
	fn(n)
	for _, base := range slices.Sorted(maps.Keys(n.names)) {
		n.names[base].walk(fn)
	}
}

func (n *node) info(base string) fs.FileInfo {
	return &fileInfo{name: base, size: int64(len(n.data)), dir: n.isDir(), modified: n.modified, n: n}
}

// fileInfo implements fs.FileInfo.
type fileInfo struct {
	name     string
	size     int64
	dir      bool
	modified time.Time
	n        *node
}

func (i *fileInfo) Name() string       { return i.name }
func (i *fileInfo) Size() int64        { return i.size }
func (i *fileInfo) ModTime() time.Time { return i.modified }
func (i *fileInfo) IsDir() bool        { return i.dir }

// Sys returns a value that is equal for two infos of the same file.
func (i *fileInfo) Sys() any { return i.n }

func (i *fileInfo) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o755
	}
	return 0o644
}
