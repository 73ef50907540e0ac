package log

import (
	"errors"
	"fmt"
	"os"
	"path"
)

const (
	// reserveFile holds space that is given up when the disk is full, so that metadata, checkpoints and coordinators'
	// records can still be written while clients are refused. Kafka knows no such file and ignores it.
	reserveFile = "kbroker-reserve"
	// maxReserveBytes pays for some ten thousand group commits and every checkpoint of a large node.
	maxReserveBytes = 4 << 20
	// reserveShare is the part of a small disk that the reserve may take: 1/64, 1 MiB of 64 MiB.
	reserveShare = 64
	// resumeFactor times the reserve must be free, beside the reserve itself, before produce resumes: otherwise the
	// directory would go back and forth with every deleted file.
	resumeFactor = 2
)

// reserve is the reserve file of a data directory. It belongs to the keeper's goroutine.
type reserve struct{ held int64 }

func reserveBytes(total uint64) int64 {
	return min(maxReserveBytes, int64(total/reserveShare)) &^ 4095
}

// takeReserve makes the reserve file. Zeros are written and synced, because a file that was only made longer takes no space.
func (d *Dir) takeReserve(size int64) error {
	name := path.Join(d.path, reserveFile)
	f, err := d.m.fs.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if have, err := f.Size(); err == nil && have == size {
		d.reserve.held = size
		return nil
	}
	zeros := make([]byte, 256<<10)
	for at := int64(0); at < size && err == nil; at += int64(len(zeros)) {
		_, err = f.WriteAt(zeros[:min(size-at, int64(len(zeros)))], at)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("reserve %d bytes in %s: %w", size, name, err), f.Truncate(0))
	}
	d.reserve.held = size
	return nil
}

// giveReserve gives the reserved space to the rest of the directory.
func (d *Dir) giveReserve() {
	err := d.m.fs.Remove(path.Join(d.path, reserveFile))
	if err != nil && !isNotExist(err) {
		d.m.logger.Warn("the reserve file can't be removed", "dir", d.path, "error", err)
		return
	}
	d.reserve.held = 0
}

// checkSpace gives the reserve up when the directory is full, and takes it back, and appends again, when there is room.
func (d *Dir) checkSpace() {
	free, total, err := d.Space()
	if err != nil {
		d.m.logger.Warn("the free space of the data directory is unknown", "dir", d.path, "error", err)
		return
	}
	size := reserveBytes(total)
	switch d.State() {
	case DirFull:
		if int64(free) < (1+resumeFactor)*size-d.reserve.held {
			d.giveReserve()
			return
		}
		if err := d.takeReserve(size); err != nil {
			d.giveReserve()
			return
		}
		if d.state.CompareAndSwap(int32(DirFull), int32(DirOK)) {
			d.m.logger.Info("the data directory has room again: produce resumes", "dir", d.path, "free", free)
		}
	case DirOK:
		if d.reserve.held != size && int64(free) > (1+resumeFactor)*size {
			if err := d.takeReserve(size); err != nil && isNoSpace(err) {
				d.giveReserve()
			}
		}
	}
}
