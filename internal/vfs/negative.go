//go:build negativecontrol

package vfs

import (
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// OS returns the file system of the operating system, spoiled as the environment says. It exists for integration/power,
// which has to show that it notices a broker that does not sync:
//
//   - NEGATIVE_CONTROL=nosync: Sync and SyncFS do nothing.
//   - NEGATIVE_CONTROL=nodirsync: SyncDir does nothing.
//   - NEGATIVE_CONTROL=earlyack: Sync of a .log file and SyncFS succeed at once and sync a little later, so that records
//     are acknowledged before they are durable.
//   - NEGATIVE_CONTROL_NAMES=FILE: every name made or changed, and every SyncDir and SyncFS (as a sync of /) that was really
//     done, is appended to FILE, a line each. After a power cut the harness takes back what no SyncDir covered. A real file system may do the same,
//     but ext4 and XFS never do once any file was synced: their journal commits all names together.
func OS() FS {
	var fsys FS = &osFS{}
	if name := os.Getenv("NEGATIVE_CONTROL_NAMES"); name != "" {
		journal, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
		if err != nil {
			panic("negative control: " + err.Error())
		}
		fsys = &namesFS{FS: fsys, journal: journal}
	}
	switch os.Getenv("NEGATIVE_CONTROL") {
	case "nosync":
		return noSyncFS{fsys}
	case "nodirsync":
		return noSyncDirFS{fsys}
	case "earlyack":
		return lateSyncFS{fsys}
	}
	return fsys
}

type noSyncFS struct{ FS }

func (noSyncFS) SyncFS(string) error { return nil }

func (n noSyncFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := n.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return noSyncFile{f}, nil
}

type noSyncFile struct{ File }

func (noSyncFile) Sync() error { return nil }

type noSyncDirFS struct{ FS }

func (noSyncDirFS) SyncDir(string) error { return nil }

// lateness is how long earlyack lets a sync wait: many times what one takes.
const lateness = 50 * time.Millisecond

type lateSyncFS struct{ FS }

func (l lateSyncFS) SyncFS(name string) error {
	time.AfterFunc(lateness, func() { l.FS.SyncFS(name) })
	return nil
}

func (l lateSyncFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := l.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return lateSyncFile{f}, nil
}

type lateSyncFile struct{ File }

func (f lateSyncFile) Sync() error {
	if filepath.Ext(f.Name()) != ".log" {
		return f.File.Sync()
	}
	time.AfterFunc(lateness, func() { f.File.Sync() })
	return nil
}

// namesFS writes down which names a power cut may take back. Renames onto an existing name are left out: what they
// replaced is gone. So are removals, which may reach the disk at any time.
type namesFS struct {
	FS
	journal *os.File // opened with O_APPEND, so that one write is one line
}

// note appends one line: an operation and its absolute paths, separated by tabs. It outlives kill -9 of this process,
// which is all it has to.
func (n *namesFS) note(line string, paths ...string) {
	for _, p := range paths {
		abs, err := filepath.Abs(p)
		if err != nil {
			panic("negative control: " + err.Error())
		}
		line += "\t" + abs
	}
	if _, err := n.journal.WriteString(line + "\n"); err != nil {
		panic("negative control: " + err.Error())
	}
}

func (n *namesFS) missing(name string) bool {
	_, err := n.FS.Stat(name)
	return err != nil
}

func (n *namesFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	creates := flag&os.O_CREATE != 0 && n.missing(name)
	f, err := n.FS.OpenFile(name, flag, perm)
	if err == nil && creates {
		n.note("create", name)
	}
	return f, err
}

func (n *namesFS) MkdirAll(name string, perm fs.FileMode) error {
	var made []string
	for p := filepath.Clean(name); n.missing(p); p = filepath.Dir(p) {
		made = append([]string{p}, made...)
	}
	if err := n.FS.MkdirAll(name, perm); err != nil {
		return err
	}
	for _, p := range made {
		n.note("create", p)
	}
	return nil
}

func (n *namesFS) Rename(oldName, newName string) error {
	fresh := n.missing(newName)
	if err := n.FS.Rename(oldName, newName); err != nil {
		return err
	}
	if fresh {
		n.note("rename", oldName, newName)
	}
	return nil
}

func (n *namesFS) SyncDir(name string) error {
	if err := n.FS.SyncDir(name); err != nil {
		return err
	}
	n.note("sync", name)
	return nil
}

// SyncFS makes all names durable as well.
func (n *namesFS) SyncFS(name string) error {
	if err := n.FS.SyncFS(name); err != nil {
		return err
	}
	n.note("sync", "/")
	return nil
}
