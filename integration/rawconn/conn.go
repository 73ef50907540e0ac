// Package rawconn is a connection to a Kafka-speaking broker with nothing between the test and the bytes: no client
// library that would negotiate, retry, or refuse to send what is wrong. Tests use it to say exactly what goes over the
// wire and to see exactly what comes back.
package rawconn

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ErrClosed says that the broker closed the connection where an answer could have come.
var ErrClosed = errors.New("connection closed by the broker")

// ErrNoAnswer says that nothing came within the time given.
var ErrNoAnswer = errors.New("no answer")

// maxFrame bounds what Receive allocates on a broker's word; it is far above any answer that a test asks for.
const maxFrame = 256 << 20

// Conn is one TCP connection. It is used by one goroutine at a time.
type Conn struct {
	tcp  net.Conn
	in   *bufio.Reader
	next int32 // correlation id of the next Do
}

// Dial connects to addr.
func Dial(addr string) (*Conn, error) {
	tcp, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return nil, fmt.Errorf("rawconn: %w", err)
	}
	return &Conn{tcp: tcp, in: bufio.NewReaderSize(tcp, 64<<10)}, nil
}

// Close closes the connection.
func (c *Conn) Close() { c.tcp.Close() }

// LocalAddr is this end's address.
func (c *Conn) LocalAddr() net.Addr { return c.tcp.LocalAddr() }

// Send writes the bytes as they are. It returns ErrClosed when the broker has closed the connection.
func (c *Conn) Send(frame []byte) error {
	c.tcp.SetWriteDeadline(time.Now().Add(30 * time.Second))
	_, err := c.tcp.Write(frame)
	return closedOr(err)
}

// Receive returns the next frame without its size, ErrClosed, or ErrNoAnswer when none is complete within the limit.
func (c *Conn) Receive(limit time.Duration) ([]byte, error) {
	c.tcp.SetReadDeadline(time.Now().Add(limit))
	var size [4]byte
	if _, err := io.ReadFull(c.in, size[:]); err != nil {
		return nil, closedOr(err)
	}
	n := int32(binary.BigEndian.Uint32(size[:]))
	if n < 0 || n > maxFrame {
		return nil, fmt.Errorf("rawconn: the broker announced a frame of %d bytes", n)
	}
	frame := make([]byte, n)
	if _, err := io.ReadFull(c.in, frame); err != nil {
		return nil, fmt.Errorf("rawconn: after the size of a frame of %d bytes: %w", n, closedOr(err))
	}
	return frame, nil
}

// Quiet waits for the given time and says whether the broker has neither sent a byte nor closed. It consumes nothing.
func (c *Conn) Quiet(wait time.Duration) bool {
	c.tcp.SetReadDeadline(time.Now().Add(wait))
	_, err := c.in.Peek(1)
	return errors.Is(err, os.ErrDeadlineExceeded)
}

func closedOr(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.Is(err, net.ErrClosed), errors.Is(err, syscall.ECONNABORTED):
		return ErrClosed
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ErrNoAnswer
	}
	return err
}

// Header is a request header as the script wants it; nothing is checked.
type Header struct {
	Key, Version int16
	Correlation  int32
	ClientID     *string
	// Flexible adds the tag buffer of header v2 (rule 1.2).
	Flexible bool
	// Tags is the content of that buffer, count included; empty means the single byte 0.
	Tags []byte
}

// Frame puts size, header and body together.
func Frame(h Header, body []byte) []byte {
	b := make([]byte, 4, 64+len(body))
	b = binary.BigEndian.AppendUint16(b, uint16(h.Key))
	b = binary.BigEndian.AppendUint16(b, uint16(h.Version))
	b = binary.BigEndian.AppendUint32(b, uint32(h.Correlation))
	if h.ClientID == nil {
		b = append(b, 0xff, 0xff)
	} else {
		b = binary.BigEndian.AppendUint16(b, uint16(len(*h.ClientID)))
		b = append(b, *h.ClientID...)
	}
	if h.Flexible {
		if len(h.Tags) == 0 {
			b = append(b, 0)
		}
		b = append(b, h.Tags...)
	}
	b = append(b, body...)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// Answer is a response frame split into its parts.
type Answer struct {
	Correlation int32
	Body        []byte
}

// Split takes a response frame apart. Responses to flexible requests have a tag buffer after the correlation id, which
// must be empty, since no version of the protocol defines a tag there; ApiVersions never has one (rule 1.3.2).
func Split(frame []byte, resp kmsg.Response) (Answer, error) {
	if len(frame) < 4 {
		return Answer{}, fmt.Errorf("rawconn: a response of %d bytes has no correlation id", len(frame))
	}
	a := Answer{int32(binary.BigEndian.Uint32(frame)), frame[4:]}
	if resp.IsFlexible() && resp.Key() != int16(kmsg.ApiVersions) {
		if len(a.Body) == 0 || a.Body[0] != 0 {
			return Answer{}, fmt.Errorf("rawconn: a flexible response header without its empty tag buffer: %x", frame[:min(16, len(frame))])
		}
		a.Body = a.Body[1:]
	}
	return a, nil
}

// answerLimit is how long Finish waits: no broker takes as long for anything that a test asks, on a busy machine neither.
const answerLimit = 90 * time.Second

// Do sends a request and decodes its answer, waiting at most 90 seconds. The answer's correlation id is checked.
func (c *Conn) Do(req kmsg.Request) (kmsg.Response, error) {
	if err := c.Start(req); err != nil {
		return nil, err
	}
	return c.Finish(req)
}

// Start sends a request whose answer Finish takes. Several may be under way.
func (c *Conn) Start(req kmsg.Request) error {
	c.next++
	id := "kbroker-test"
	h := Header{Key: req.Key(), Version: req.GetVersion(), Correlation: c.next, ClientID: &id, Flexible: req.IsFlexible()}
	return c.Send(Frame(h, req.AppendTo(nil)))
}

// Finish receives the next answer as that of req.
func (c *Conn) Finish(req kmsg.Request) (kmsg.Response, error) {
	frame, err := c.Receive(answerLimit)
	if err != nil {
		return nil, err
	}
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	a, err := Split(frame, resp)
	if err != nil {
		return nil, err
	}
	if err := resp.ReadFrom(a.Body); err != nil {
		return nil, fmt.Errorf("rawconn: decoding a %s v%d response of %d bytes: %w", kmsg.NameForKey(req.Key()), req.GetVersion(), len(a.Body), err)
	}
	return resp, nil
}
