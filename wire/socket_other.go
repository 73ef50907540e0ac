//go:build !linux

package wire

import "net"

// newSocket chooses how to move a connection's bytes.
func newSocket(nc net.Conn) socket { return portable{nc} }

// tune sets nothing here.
func tune(net.Conn) {}
