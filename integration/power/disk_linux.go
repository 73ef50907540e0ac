package power

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// disk is an ext4 file system in an image file, mounted through a loop device.
type disk struct {
	image, dir string
}

// newDisk makes a file system of size bytes in a sparse file image and mounts it on dir.
func newDisk(image, dir string, size int64) (*disk, error) {
	d := &disk{image: image, dir: dir}
	if err := os.MkdirAll(d.dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.Create(d.image)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		return nil, err
	}
	if err := system("mkfs.ext4", "-q", "-F", "-m", "0", d.image); err != nil {
		return nil, err
	}
	return d, d.mount()
}

func (d *disk) mount() error { return system("mount", "-o", "loop", d.image, d.dir) }

// unmount retries for a while: a process that was just killed may still be leaving.
func (d *disk) unmount() error {
	var err error
	for range 100 {
		if err = unix.Unmount(d.dir, 0); !errors.Is(err, unix.EBUSY) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		return fmt.Errorf("unmounting %s: %w", d.dir, err)
	}
	return nil
}

// remove unmounts and deletes the disk; it is fine after a failure halfway.
func (d *disk) remove() error {
	err := d.unmount()
	if errors.Is(err, unix.EINVAL) { // not mounted
		err = nil
	}
	return errors.Join(err, os.Remove(d.image))
}

// How a shutdown treats the journal: written out first, or left as it is (EXT4_GOING_FLAGS_*).
const (
	cutAfterJournal = 1
	cutAtOnce       = 2
)

// shutdownIoctl is EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32).
const shutdownIoctl = 0x8004587d

// cut stops all writing to the disk. From then on writes and syncs on it fail with EIO.
func (d *disk) cut(how uint32) error {
	f, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), shutdownIoctl, uintptr(unsafe.Pointer(&how))); errno != 0 {
		return fmt.Errorf("shutdown ioctl on %s: %w", d.dir, errno)
	}
	return nil
}

// system runs a program and reports what it printed if it fails. Tools for disks live where PATH may not lead.
func system(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	if cmd.Err != nil {
		cmd = exec.Command("/usr/sbin/"+name, args...)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %v: %w\n%s", name, args, err, out)
	}
	return nil
}
