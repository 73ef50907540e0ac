package vfs

import (
	"errors"
	"slices"
	"syscall"
)

// IsNoSpace reports whether err says that the disk is full or a quota used up, so that the operation may succeed once
// something is deleted.
func IsNoSpace(err error) bool {
	return slices.ContainsFunc(noSpaceErrors, func(e error) bool { return errors.Is(err, e) })
}

// noSpaceErrors are POSIX's errors and those of this system.
var noSpaceErrors = append([]error{syscall.ENOSPC, syscall.EDQUOT}, systemNoSpaceErrors...)
