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
// in order, as Kafka guarantees (rule 1.5.1). After an error the Client is closed: its owner dials another. It has no
// deadline of its own: each request waits for as long as its context lets it.
type Client struct {
	nc    net.Conn
	form  *kmsg.RequestFormatter
	limit int32

	// turn holds a token of whoever writes, so that frames and exchanges have one order. It is no mutex, since a write
	// waits for the peer: who waits for a turn can give up, and the reader, which the peer may wait for, needs none.
	turn chan struct{}
	next int32 // correlation id; who has the turn may use it

	mu      sync.Mutex // guards what follows; memory only
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

// NewClient takes over a connection; the peer sees clientID as its client id. A response larger than limit bytes closes
// the connection. Close ends its reader goroutine.
func NewClient(nc net.Conn, clientID string, limit int32) *Client {
	c := &Client{
		nc: nc, form: kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID)), limit: limit,
		turn: make(chan struct{}, 1), done: make(chan struct{}),
	}
	go c.read()
	return c
}

// Do sends a request, whose version is set, and waits for its response or the end of ctx. Every request must have a
// response, which a Produce with acks=0 has not. The response of a request that was given up is still read and dropped,
// so that the others keep their order; one that is given up while it is being written ends the Client. More than
// maxExchanges requests in flight are an error.
func (c *Client) Do(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	x := &exchange{resp: req.ResponseKind(), done: make(chan error, 1)}
	x.resp.SetVersion(req.GetVersion())
	x.flex = req.IsFlexible() && req.Key() != apiVersions
	if err := c.send(ctx, req, x); err != nil {
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

// send queues an exchange and writes its request (rule 1.2) when it is its turn.
func (c *Client) send(ctx context.Context, req kmsg.Request, x *exchange) error {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c.next++
	x.id = c.next
	b := c.form.AppendRequest(nil, req, x.id)
	if err := c.await(x); err != nil {
		return err
	}
	giveUp := context.AfterFunc(ctx, func() { c.fail(ctx.Err()) })
	defer giveUp()
	if _, err := c.nc.Write(b); err != nil {
		return c.fail(err)
	}
	return nil
}

// await queues an exchange.
func (c *Client) await(x *exchange) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	if len(c.waiting) >= maxExchanges {
		return fmt.Errorf("%d requests are in flight already", len(c.waiting))
	}
	c.waiting = append(c.waiting, x)
	return nil
}

// read is the reader goroutine. It ends with the connection.
func (c *Client) read() {
	defer close(c.done)
	for {
		body, err := c.receive()
		if err == nil {
			err = c.deliver(body)
		}
		if err != nil {
			c.fail(err)
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

// fail ends the Client: everybody who waits gets err, and so does everybody who comes. It returns the error that the
// Client ended with, which is that of the first call.
func (c *Client) fail(err error) error {
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return c.err
	}
	waiting := c.waiting
	c.err, c.waiting = err, nil
	c.mu.Unlock()
	c.nc.Close()
	for _, x := range waiting {
		x.done <- err
	}
	return err
}

// Close closes the connection and waits for its reader.
func (c *Client) Close() {
	c.fail(ErrClientClosed)
	<-c.done
}
