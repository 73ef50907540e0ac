//go:build linux

package main

import (
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

func setCongestion(c *net.TCPConn, name string) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, name)
	})
	if set != nil {
		return set
	}
	return err
}

// sendfile sends n bytes of file fd from an explicit offset. TCPConn.ReadFrom would use the file's own offset, which
// needs a descriptor per reader; here all readers share one.
func sendfile(c *net.TCPConn, fd int, off, n int64) error {
	return whenWritable(c, func(socket int) (done bool, err error) {
		m, err := unix.Sendfile(socket, fd, &off, int(n))
		if err == nil && m == 0 {
			err = io.ErrUnexpectedEOF
		}
		n -= int64(max(m, 0))
		return n == 0, err
	})
}

// sendMore sends b and tells the kernel that more follows at once.
func sendMore(c *net.TCPConn, b []byte) error {
	return whenWritable(c, func(socket int) (done bool, err error) {
		m, err := unix.SendmsgN(socket, b, nil, nil, unix.MSG_MORE|unix.MSG_DONTWAIT)
		b = b[max(m, 0):]
		return len(b) == 0, err
	})
}

// whenWritable calls step until it is done or fails, waiting for the socket when it is full.
func whenWritable(c *net.TCPConn, step func(socket int) (done bool, err error)) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Write(func(socket uintptr) bool {
		for {
			done, err := step(int(socket))
			switch err {
			case syscall.EINTR, nil:
				if done {
					return true
				}
			case syscall.EAGAIN:
				return done
			default:
				failed = err
				return true
			}
		}
	})
	if failed != nil {
		return failed
	}
	return err
}
