package log

import (
	"errors"
	"syscall"
)

// Windows' codes for a full disk, and for a process that has too many files open.
const (
	errorTooManyOpenFiles = syscall.Errno(4)
	errorDiskFull         = syscall.Errno(112)
	errorHandleDiskFull   = syscall.Errno(39)
)

// isTooManyFiles reports whether a file could not be opened because the process has too many open. Nothing was done then,
// and it may be tried again.
func isTooManyFiles(err error) bool { return errors.Is(err, errorTooManyOpenFiles) }

// isNoSpace reports whether a write failed because the disk is full.
func isNoSpace(err error) bool {
	return errors.Is(err, errorDiskFull) || errors.Is(err, errorHandleDiskFull) || errors.Is(err, syscall.ENOSPC)
}
