package log

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/kbroker/kbroker/internal/vfs"
)

// isNotExist reports whether err says that there is no such file.
func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// writeFileAtomic replaces file name by one with the content data, durably: NAME.tmp, sync, rename, sync of the
// directory (rule 3.3.6). It waits for the disk: no lock of a log may be held. Two writers of one name at a time would
// share the temporary file, so each name has one owner.
func writeFileAtomic(fsys vfs.FS, name string, data []byte) error {
	if err := replaceFile(fsys, name, data); err != nil {
		return fmt.Errorf("replace %s: %w", name, err)
	}
	return nil
}

func replaceFile(fsys vfs.FS, name string, data []byte) (err error) {
	tmp := name + ".tmp"
	f, err := fsys.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = fsys.Rename(tmp, name)
	}
	if err != nil {
		_ = fsys.Remove(tmp) // best effort: a leftover is overwritten by the next attempt
		return err
	}
	return fsys.SyncDir(path.Dir(name))
}

// readFileBounded reads file name, and refuses one of more than limit bytes: no small file of ours is that large.
func readFileBounded(fsys vfs.FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if size > limit {
		return nil, fmt.Errorf("read %s: its %d bytes are more than the limit of %d: %w", name, size, limit, ErrCorrupt)
	}
	data := make([]byte, size)
	if n, err := f.ReadAt(data, 0); n < len(data) {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}
