package wire

import (
	"context"
	"net"
	"time"
)

// Service makes a Session for every connection that a Server accepts.
type Service interface {
	// Connect is called once per connection, before its first byte is read.
	Connect(ctx context.Context, c ConnInfo) Session
}

// ConnInfo describes an accepted connection.
type ConnInfo struct {
	Listener string // name of the listener that accepted it (rule 1.6.6)
	Local    net.Addr
	Remote   net.Addr
	// Mute keeps the connection from starting another request for a time (rule 1.8.1). What was asked before is answered
	// meanwhile. It may be called from any goroutine, and does not wait; of several times the latest end counts.
	Mute func(time.Duration)
}

// Session handles the requests of one connection. Its methods are called from the connection's reader only.
type Session interface {
	// Start runs stage one of a request. h and body are valid until Flush has returned, unless Owned reported
	// the API as one that keeps its body: then body belongs to the session.
	//
	// A nil Reply with a nil error means that nothing is answered (acks=0, rule 1.5.4). An error closes the
	// connection once the replies before this request have been written.
	Start(h *Header, body []byte) (Reply, error)
	// Flush completes stage one of every request started since the last Flush. An error closes the connection
	// once the replies before it have been written.
	Flush() error
	// Class says how the frames of an API are treated. It must be a constant-time look-up.
	Class(key int16) Class
	// Close is called once, when the connection is gone and no other method runs.
	Close()
}

// Class tells the reader how to treat the frames of one API.
type Class struct {
	// MaxFrame is the largest frame in bytes; a larger one closes the connection before it is read.
	MaxFrame int32
	// Hot marks Produce and Fetch: their body stays in the read buffer, and they may be started while earlier
	// requests of the same read are not flushed yet. Every other API gets a body of its own and a flush before it.
	Hot bool
}

// Reply is stage two of a request.
//
// The connection calls Done after the Flush that follows Start; when it is false it calls Wait from its writer. Then it
// calls Append once, and Release once in any case.
type Reply interface {
	// Done reports whether the reply can be encoded without waiting.
	Done() bool
	// Wait returns when the reply can be encoded, or soon after stop is closed.
	Wait(stop <-chan struct{})
	// Append encodes the response body behind the header that the connection has written.
	Append(out *Out)
	// Size is about how many bytes of memory the reply holds until Release. It is asked for once, after Start.
	Size() int
	// Release gives the reply's resources back. Sections that Append handed to out are released by the connection.
	Release()
}

// Late is a Reply that says when it is complete, so that no goroutine has to wait for it.
type Late interface {
	Reply
	// Notify has fn called once, from any goroutine, when Done has become true. It reports false, and does not call fn, when
	// Done is true already. Locks may be held that fn takes: it is not called before Notify has returned, nor may the
	// caller of fn hold any that Done or Notify takes.
	Notify(fn func()) bool
}
