//go:build !windows

package log

import (
	"errors"
	"syscall"
)

// isTooManyFiles reports whether a file could not be opened because the process, or the system, has too many open. Nothing
// was done then, and it may be tried again.
func isTooManyFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// isNoSpace reports whether a write failed because the disk or a quota is full.
func isNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
