package simfs

import (
	"maps"
	"path"
	"slices"
	"strings"
	"syscall"
)

// nameOp is one change of a directory. A rename is both a remove and an add: a crash keeps it whole or not at all.
type nameOp struct {
	remove string // empty: nothing is removed
	add    string // empty: nothing is added
	node   *node  // what add leads to
}

func (op *nameOp) apply(names map[string]*node) {
	if op.remove != "" {
		delete(names, op.remove)
	}
	if op.add != "" {
		names[op.add] = op.node
	}
}

// alter applies op to what processes see of directory n, not yet to the disk.
func (n *node) alter(op nameOp) {
	op.apply(n.names)
	if op.node != nil {
		op.node.linked = true
	}
	n.pendingNames = append(n.pendingNames, op)
}

// syncNames makes the names in directory n durable; it does nothing for a file.
func (n *node) syncNames() {
	if n.isDir() {
		n.durableNames = maps.Clone(n.names)
		n.pendingNames = nil
	}
}

// split returns the elements of name below the root.
func split(name string) []string {
	name = clean(name)
	if name == "/" {
		return nil
	}
	return strings.Split(name[1:], "/")
}

func (d *disk) find(name string) (*node, error) {
	n := d.root
	for _, base := range split(name) {
		if !n.isDir() {
			return nil, syscall.ENOTDIR
		}
		if n = n.names[base]; n == nil {
			return nil, syscall.ENOENT
		}
	}
	return n, nil
}

func (d *disk) dir(name string) (*node, error) {
	n, err := d.find(name)
	if err == nil && !n.isDir() {
		err = syscall.ENOTDIR
	}
	return n, err
}

// parent returns the directory that holds name, and name's last element. The root has none.
func (d *disk) parent(name string) (*node, string, error) {
	name = clean(name)
	if name == "/" {
		return nil, "", syscall.EINVAL
	}
	dir, err := d.dir(path.Dir(name))
	return dir, path.Base(name), err
}

// unlink removes the name base from dir and gives back the space if nobody has the file open.
func (d *disk) unlink(dir *node, base string) {
	n := dir.names[base]
	dir.alter(nameOp{remove: base})
	d.dropName(n)
}

func (d *disk) unlinkTree(dir *node, base string) {
	n := dir.names[base]
	for _, child := range slices.Sorted(maps.Keys(n.names)) {
		d.unlinkTree(n, child)
	}
	d.unlink(dir, base)
}

func (d *disk) dropName(n *node) {
	n.linked = false
	d.release(n)
}

// release gives back the space of a file that has neither a name nor an open file.
func (d *disk) release(n *node) {
	if !n.linked && n.opens == 0 {
		d.used -= int64(len(n.data))
	}
}

func (d *disk) rename(oldName, newName string) error {
	dir, oldBase, err := d.parent(oldName)
	if err != nil {
		return err
	}
	toDir, newBase, err := d.parent(newName)
	if err != nil {
		return err
	}
	n := dir.names[oldBase]
	if n == nil {
		return syscall.ENOENT
	}
	if dir != toDir {
		return syscall.EXDEV
	}
	switch target := dir.names[newBase]; {
	case target == nil:
	case target.isDir():
		return syscall.EEXIST // package os refuses it even where the system would not
	case n.isDir():
		return syscall.ENOTDIR
	case target == n:
		return nil
	default:
		defer d.dropName(target)
	}
	dir.alter(nameOp{remove: oldBase, add: newBase, node: n})
	return nil
}

// room returns the bytes that may still be written.
func (d *disk) room() int64 { return max(d.capacity-d.used, 0) }

// truncate sets the size of n; extending makes a hole, which takes no space on a real disk but counts here.
func (d *disk) truncate(n *node, size int64) {
	d.used += size - int64(len(n.data))
	n.truncate(size)
}
