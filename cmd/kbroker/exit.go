package main

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"syscall"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kbroker/kbroker/internal/broker"
	"github.com/kbroker/kbroker/internal/vfs"
	"github.com/kbroker/kbroker/log"
)

// Exit codes. They are part of the interface: scripts and service managers act on them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 3  // no broker answers at the address
	exitNotFound    = 4  // a topic or another thing that was named does not exist
	exitDenied      = 5  // authentication or authorization
	exitTimeout     = 6  // a broker was reached, and did not finish in time
	exitInternal    = 70 // the broker itself is at fault
	exitIO          = 74 // a directory or disk cannot be used
	exitTaken       = 75 // a port or a data directory belongs to another process
	exitConfig      = 78 // a setting is wrong
	exitInterrupted = 130
)

// exitError is an error with the exit code that it ends the process with.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// exitCode chooses the code for an error of any command.
func exitCode(err error) int {
	var given *exitError
	var dial *net.OpError
	var dns *net.DNSError
	switch {
	case errors.As(err, &given):
		return given.code
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case isAny(err, kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.GroupIDNotFound):
		return exitNotFound
	case isAny(err, kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed,
		kerr.TransactionalIDAuthorizationFailed, kerr.SaslAuthenticationFailed):
		return exitDenied
	case errors.As(err, &dial), errors.As(err, &dns):
		return exitUnreachable
	case isAny(err, context.DeadlineExceeded, kerr.RequestTimedOut, kgo.ErrRecordTimeout):
		return exitTimeout
	}
	return exitFailed
}

func isAny(err error, targets ...error) bool {
	for _, t := range targets {
		if errors.Is(err, t) {
			return true
		}
	}
	return false
}

// startCode chooses the code for a broker that did not start.
func startCode(err error) int {
	var port *broker.PortError
	var locked *vfs.LockedError
	var path *fs.PathError
	switch {
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &locked), errors.As(err, &port) && errors.Is(err, syscall.EADDRINUSE):
		return exitTaken
	case errors.As(err, &port), errors.Is(err, log.ErrNotOurs):
		return exitConfig
	case errors.As(err, &path):
		return exitIO
	}
	return exitInternal
}
