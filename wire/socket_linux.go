package wire

import (
	"errors"
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// newSocket chooses how to move a connection's bytes.
func newSocket(nc net.Conn) socket {
	tc, ok := nc.(*net.TCPConn)
	if !ok {
		return portable{nc}
	}
	rc, err := tc.SyscallConn()
	if err != nil {
		return portable{nc}
	}
	s := &tcp{portable: portable{nc}, rc: rc}
	s.fillFn, s.moreFn, s.fileFn, s.tryFn = s.onFill, s.onMore, s.onFile, s.onTry
	return s
}

// tcp is the socket that waits for readability without a buffer, and sends file ranges without copying them.
//
// The callbacks that RawConn wants are made once: a closure per call would be an allocation per request. Each pair of
// argument and result fields belongs to one direction, and so to one goroutine.
type tcp struct {
	portable
	rc syscall.RawConn

	fillFn  func(fd uintptr) bool
	filling *conn
	fillN   int
	fillErr error

	moreFn  func(fd uintptr) bool
	fileFn  func(fd uintptr) bool
	tryFn   func(fd uintptr) bool
	sending *conn
	more    []byte // still to be sent with MSG_MORE, or tried
	file    int
	off     int64
	n       int64
	sendErr error
}

func (s *tcp) fill(c *conn) (int, error) {
	s.filling, s.fillN, s.fillErr = c, 0, nil
	if err := s.rc.Read(s.fillFn); err != nil {
		return 0, err
	}
	if s.fillErr == nil && s.fillN == 0 {
		return 0, io.EOF
	}
	c.moved(s.fillN)
	return s.fillN, s.fillErr
}

// onFill reads what is there. When nothing is it gives the connection's buffer back before the runtime waits.
func (s *tcp) onFill(fd uintptr) bool {
	for {
		n, err := unix.Read(int(fd), s.filling.room())
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			s.filling.park()
			return false
		}
		s.fillN, s.fillErr = max(n, 0), err
		return true
	}
}

func (s *tcp) write(c *conn, out *Out) error {
	s.sending = c
	at := 0
	for _, p := range out.sections {
		fd, ok := p.s.File.Fd()
		if !ok {
			return s.portable.write(c, out)
		}
		// The header goes with MSG_MORE, so that it leaves in one segment with the data behind it.
		s.more, s.sendErr = out.B[at:p.at], nil
		if err := s.rc.Write(s.moreFn); err != nil || s.sendErr != nil {
			return errors.Join(err, s.sendErr)
		}
		at = p.at
		s.file, s.off, s.n = int(fd), p.s.Off, p.s.N
		if err := s.rc.Write(s.fileFn); err != nil || s.sendErr != nil {
			return errors.Join(err, s.sendErr)
		}
	}
	return s.bytes(c, out.B[at:])
}

func (s *tcp) try(c *conn, b []byte) (int, error) {
	s.sending, s.more, s.sendErr = c, b, nil
	err := s.rc.Write(s.tryFn)
	n := len(b) - len(s.more)
	s.more = nil
	return n, errors.Join(err, s.sendErr)
}

// onTry sends what the socket takes at once.
func (s *tcp) onTry(fd uintptr) bool {
	for {
		n, err := unix.Write(int(fd), s.more)
		switch err {
		case nil:
			s.sending.sent(n)
			s.more = s.more[n:]
		case unix.EINTR:
			continue
		case unix.EAGAIN:
		default:
			s.sendErr = err
		}
		return true
	}
}

func (s *tcp) onMore(fd uintptr) bool {
	for len(s.more) > 0 {
		n, err := unix.SendmsgN(int(fd), s.more, nil, nil, unix.MSG_MORE|unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		switch err {
		case nil:
			s.sending.sent(n)
			s.more = s.more[n:]
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default:
			s.sendErr = err
			return true
		}
	}
	return true
}

// onFile sends a file range at its offset: all readers of a segment share one descriptor, which TCPConn.ReadFrom would
// not allow.
func (s *tcp) onFile(fd uintptr) bool {
	for s.n > 0 {
		n, err := unix.Sendfile(int(fd), s.file, &s.off, int(s.n))
		if n > 0 {
			s.sending.sent(n)
			s.n -= int64(n)
			continue
		}
		switch err {
		case nil:
			s.sendErr = io.ErrUnexpectedEOF // the frame's size is out already: only closing is left
			return true
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default:
			s.sendErr = err
			return true
		}
	}
	return true
}

// tune sets the congestion control of loopback connections to reno: the common default BBR halves loopback throughput.
// Where the system does not allow it nothing changes.
func tune(nc net.Conn) {
	tc, ok := nc.(*net.TCPConn)
	if !ok {
		return
	}
	remote, ok := tc.RemoteAddr().(*net.TCPAddr)
	local, lok := tc.LocalAddr().(*net.TCPAddr)
	if !ok || !lok || !(remote.IP.IsLoopback() || remote.IP.Equal(local.IP)) {
		return
	}
	rc, err := tc.SyscallConn()
	if err != nil {
		return
	}
	_ = rc.Control(func(fd uintptr) {
		_ = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "reno")
	})
}
