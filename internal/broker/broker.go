// Package broker is the composition root: it builds a node of the other packages, starts it, and stops it in order.
//
// It owns nothing of the protocol and nothing of the data. What it decides is the order of things: directories are locked
// and ports bound before anything is changed, logs are recovered before clients are served, and at the end clients are
// let go before logs are closed.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kbroker/kbroker/controller"
	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/coordinator/group"
	"github.com/kbroker/kbroker/handler"
	"github.com/kbroker/kbroker/internal/config"
	"github.com/kbroker/kbroker/internal/quota"
	"github.com/kbroker/kbroker/internal/vfs"
	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/log/record"
	"github.com/kbroker/kbroker/metadata"
	"github.com/kbroker/kbroker/replica"
	"github.com/kbroker/kbroker/wire"
)

// Options is what a node is made of. FS and Listen are the two seams of tests.
type Options struct {
	Config *config.Store
	FS     vfs.FS
	Listen func(network, address string) (net.Listener, error)
	// Loggers holds the levels of the node's loggers; Logger is the one that it uses itself.
	Loggers *config.Loggers
	Logger  *slog.Logger
}

// Broker is a running node.
type Broker struct {
	o      Options
	logger *slog.Logger

	metadata    metadata.Cell
	codecs      *record.Codecs
	logs        *log.Manager
	metadataDir *log.Dir // the one that the controller keeps its files in
	controller  *controller.Controller
	replicas    *replica.Manager
	machines    *coordinator.Runtime[*group.Machine]
	groupMemory *group.Memory
	groups      *group.Coordinator
	service     *handler.Service
	quotas      *quota.Manager
	server      *wire.Server // set with applyMu held, since what follows images changes its limits
	http        *httpServer

	clusterID   string
	incarnation metadata.UUID
	epoch       int64 // of this broker's registration
	listeners   []boundListener
	health      health
	dataLimits  atomic.Pointer[handler.Limits]
	groupConfig atomic.Pointer[group.Config]

	// applyMu puts images one after another. It is held over what they bring about, files included: the start and the
	// controller's publishing goroutine take it, and nobody else.
	applyMu sync.Mutex
	applied *metadata.Image // nil until the logs are loaded
	// coordinating is set when this node has registered: coordinators follow images from then on.
	coordinating bool

	stopping   chan struct{}  // closed by Stop
	background sync.WaitGroup // goroutines that end with it
	stopOnce   sync.Once
	stopErr    error
}

// boundListener is a configured listener and its socket.
type boundListener struct {
	config.Listener
	socket net.Listener
}

// Start builds and starts a node. It returns when clients are served, or when ctx ends. After an error nothing is left
// running or locked.
func Start(ctx context.Context, o Options) (*Broker, error) {
	b := &Broker{o: o, logger: o.Logger, incarnation: metadata.NewUUID(), stopping: make(chan struct{}), codecs: record.NewCodecs()}
	if err := b.start(ctx); err != nil {
		return nil, errors.Join(err, b.Stop(context.WithoutCancel(ctx)))
	}
	return b, nil
}

func (b *Broker) start(ctx context.Context) error {
	steps := []struct {
		what string
		do   func(context.Context) error
	}{
		{"bind the listeners", b.bind},
		{"open the data directories", b.openDirs},
		{"start the controller", b.startController},
		{"recover the logs", b.recover},
		{"register with the controller", b.register},
		{"serve clients", b.serve},
	}
	for _, s := range steps {
		b.health.enter(s.what)
		if err := s.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
	}
	b.health.ready()
	return nil
}

// bind opens every socket first: a port in use should be told before anything is changed.
func (b *Broker) bind(context.Context) error {
	for _, l := range b.o.Config.Broker().Listeners {
		socket, err := b.o.Listen("tcp", l.Addr())
		if err != nil {
			return &PortError{Purpose: "clients", Change: "listeners", Address: l.Addr(), Err: err}
		}
		b.listeners = append(b.listeners, boundListener{l, socket})
	}
	return b.bindHTTP()
}

// PortError says that an address could not be listened on.
type PortError struct {
	Purpose string // what is served there
	Change  string // what to change, a setting that the reader may never have written
	Address string
	Err     error
}

func (e *PortError) Error() string {
	reason := e.Err
	var op *net.OpError
	if errors.As(e.Err, &op) && op.Op == "listen" {
		reason = op.Err // op itself names the address again
	}
	return fmt.Sprintf("cannot listen on %s for %s: %v; change %s, or stop what uses the port", e.Address, e.Purpose, reason, e.Change)
}

func (e *PortError) Unwrap() error { return e.Err }

// Addr is the address of the first client listener.
func (b *Broker) Addr() net.Addr { return b.listeners[0].socket.Addr() }

// HTTPAddr is the address of the HTTP listener, nil when it is off.
func (b *Broker) HTTPAddr() net.Addr {
	if b.http == nil {
		return nil
	}
	return b.http.addr()
}

// Wait returns when ctx ends, or with the reason when the node can't go on: its controller has failed, or the directory
// that the controller keeps its files in (rule 3.1.5). With one data directory nothing could be served then until a
// restart, which looks at what the disk really has; whoever watches over the process learns of it by its end. Another
// directory that failed takes only its own partitions along.
func (b *Broker) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-b.controller.Done():
		return fmt.Errorf("the controller stopped: %w", b.controller.Err())
	case <-b.metadataDir.Failed():
		return fmt.Errorf("the data directory of the cluster's metadata is lost: %w", b.metadataDir.Err())
	}
}

// stopGrace is how long clients' requests in progress may take to be answered at a stop.
const stopGrace = 2 * time.Second

// Stop ends the node in order: coordinators, clients, then the controller, then the logs with their marker of a clean shutdown.
func (b *Broker) Stop(ctx context.Context) error {
	b.stopOnce.Do(func() {
		b.health.enter("stop")
		close(b.stopping)
		b.background.Wait()
		if b.groups != nil {
			b.groups.Close() // first: joins may be parked for minutes, and are answered now
		}
		if b.server != nil {
			grace, cancel := context.WithTimeout(ctx, stopGrace)
			b.server.Close(grace)
			cancel()
		}
		for _, l := range b.listeners {
			l.socket.Close()
		}
		if b.controller != nil {
			b.stopErr = errors.Join(b.stopErr, b.controller.Close())
		}
		if b.logs != nil {
			b.stopErr = errors.Join(b.stopErr, b.closeLogs())
		}
		if b.http != nil {
			b.http.close()
		}
	})
	return b.stopErr
}
