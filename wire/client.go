package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Client is one connection to another broker. Requests may be sent concurrently and are pipelined; responses are matched
// in order, as Kafka guarantees (rule 1.5.1). After an error the Client is closed: its owner dials another.
type Client struct {
	nc       net.Conn
	clientID string
	limit    int32

	mu      sync.Mutex // guards what follows, and the order of writes
	next    int32      // correlation id
	waiting []*exchange
	err     error

	done chan struct{} // closed when the reader has ended
}

// exchange is a request on its way.
type exchange struct {
	id   int32
	resp kmsg.Response
	flex bool // the response header has tags
	done chan error
}

// maxExchanges bounds the requests in flight on one Client.
const maxExchanges = 64

// ErrClientClosed is the error of a Client after Close.
var ErrClientClosed = errors.New("connection to the broker is closed")

// NewClient takes over a connection. A response larger than limit bytes closes it. Close ends its reader goroutine.
func NewClient(nc net.Conn, clientID string, limit int32) *Client {
	c := &Client{nc: nc, clientID: clientID, limit: limit, done: make(chan struct{})}
	go c.read()
	return c
}

// Do sends a request, whose version is set, and waits for its response or the end of ctx. The response of a request that
// was given up is still read and dropped, so that the others keep their order.
func (c *Client) Do(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	x := &exchange{resp: req.ResponseKind(), done: make(chan error, 1)}
	x.resp.SetVersion(req.GetVersion())
	x.flex = req.IsFlexible() && req.Key() != apiVersions
	if err := c.send(req, x); err != nil {
		return nil, fmt.Errorf("send %s to %s: %w", kmsg.NameForKey(req.Key()), c.nc.RemoteAddr(), err)
	}
	select {
	case err := <-x.done:
		if err != nil {
			return nil, fmt.Errorf("%s from %s: %w", kmsg.NameForKey(req.Key()), c.nc.RemoteAddr(), err)
		}
		return x.resp, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// send writes a request and queues its exchange in the same order.
func (c *Client) send(req kmsg.Request, x *exchange) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	if len(c.waiting) >= maxExchanges {
		return fmt.Errorf("%d requests are in flight already", len(c.waiting))
	}
	c.next++
	x.id = c.next
	b := appendRequest(nil, c.clientID, x.id, req)
	c.waiting = append(c.waiting, x)
	// The write may block for as long as the peer does not read. Requests are small, and the owner's deadline on the
	// connection bounds it; the lock keeps the order of frames and exchanges the same.
	if _, err := c.nc.Write(b); err != nil {
		c.failLocked(err)
		return err
	}
	return nil
}

// appendRequest encodes a request frame (rule 1.2).
func appendRequest(b []byte, clientID string, id int32, req kmsg.Request) []byte {
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(req.Key()))
	b = binary.BigEndian.AppendUint16(b, uint16(req.GetVersion()))
	b = binary.BigEndian.AppendUint32(b, uint32(id))
	b = binary.BigEndian.AppendUint16(b, uint16(len(clientID)))
	b = append(b, clientID...)
	if req.IsFlexible() {
		b = append(b, 0)
	}
	b = req.AppendTo(b)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// read is the reader goroutine. It ends with the connection.
func (c *Client) read() {
	defer close(c.done)
	for {
		body, err := c.receive()
		if err != nil {
			c.mu.Lock()
			c.failLocked(err)
			c.mu.Unlock()
			return
		}
		if err := c.deliver(body); err != nil {
			c.mu.Lock()
			c.failLocked(err)
			c.mu.Unlock()
			return
		}
	}
}

// receive reads one frame.
func (c *Client) receive() ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(c.nc, head[:]); err != nil {
		return nil, err
	}
	n := int32(binary.BigEndian.Uint32(head[:]))
	if n < 4 || n > c.limit {
		return nil, fmt.Errorf("response of %d bytes: the limit is %d", n, c.limit)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(c.nc, b)
	return b, err
}

// deliver gives a response to the first exchange that waits.
func (c *Client) deliver(b []byte) error {
	c.mu.Lock()
	if len(c.waiting) == 0 {
		c.mu.Unlock()
		return errors.New("a response that nobody asked for")
	}
	x := c.waiting[0]
	c.waiting[0] = nil
	c.waiting = c.waiting[1:]
	c.mu.Unlock()
	err := x.decode(b)
	x.done <- err
	return err
}

func (x *exchange) decode(b []byte) error {
	if id := int32(binary.BigEndian.Uint32(b)); id != x.id {
		return fmt.Errorf("response %d for request %d", id, x.id)
	}
	b = b[4:]
	if x.flex {
		var err error
		if b, err = skipTags(b); err != nil {
			return err
		}
	}
	return x.resp.ReadFrom(b)
}

// failLocked ends the Client: everybody who waits gets err, and so does everybody who comes. mu is held.
func (c *Client) failLocked(err error) {
	if c.err != nil {
		return
	}
	c.err = err
	c.nc.Close()
	for _, x := range c.waiting {
		x.done <- err
	}
	c.waiting = nil
}

// Close closes the connection and waits for its reader.
func (c *Client) Close() {
	c.mu.Lock()
	c.failLocked(ErrClientClosed)
	c.mu.Unlock()
	<-c.done
}
