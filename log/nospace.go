//go:build !windows

package log

import (
	"errors"
	"syscall"
)

// isNoSpace reports whether a write failed because the disk or a quota is full.
func isNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
