// Package handler is the Kafka API: one file per API, one explicit table of (key, versions, operations, handler).
//
// A handler authorizes, makes one call into one owner, and shapes the response. What cuts across — version checks,
// throttling, metrics, panics — happens once around the table and never in a handler, but for what only it can know:
// Produce and Fetch count their bytes, and requests that create or delete partitions charge for them.
package handler

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/controller"
	"github.com/kbroker/kbroker/coordinator/group"
	"github.com/kbroker/kbroker/internal/config"
	"github.com/kbroker/kbroker/internal/quota"
	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/log/record"
	"github.com/kbroker/kbroker/metadata"
	"github.com/kbroker/kbroker/replica"
)

// Session is what lasts as long as a connection. Its fields are set before the first request and read-only after,
// except Software, which ApiVersions sets on the connection's reader (rule 1.4.4).
type Session struct {
	Principal    acl.Principal
	RemoteHost   string // IP address of the peer, for authorization
	Remote       net.Addr
	Local        net.Addr // address the client dialled; metadata answers with it on one node
	ServerName   string   // name that the client asked for in its TLS handshake (SNI); empty without one
	ListenerName string
	Software     Software
}

// Software is what a client says it is in ApiVersions v3+.
type Software struct{ Name, Version string }

// Context is one request in stage one (or, for APIs that only answer, in both).
type Context struct {
	*Session
	// Ctx ends when the broker stops. It does not end when the client hangs up: a state change is finished (1.5.6).
	Ctx      context.Context
	Key      int16
	Version  int16
	ClientID string // empty when null (1.2.6)
	// Quota is what the client may do, nil for everything. Handlers charge mutations; all else happens around them.
	Quota    *quota.Client
	throttle *time.Duration // for how long mutations hold the client back; not nil while Quota is not
}

// Check is one (resource type, operation) that an API may ask the authorizer about; the table lists them.
type Check struct {
	Resource  acl.ResourceType
	Operation acl.Operation
}

// API is one row of the table.
type API struct {
	Key      int16
	Min, Max int16 // versions served
	// Checks names every operation that the handler authorizes; empty means that none is needed (appendix C).
	Checks []Check
	// Handle runs on the connection's reader, in arrival order. A nil response closes the connection.
	Handle func(*Context, kmsg.Request) kmsg.Response
	// Start is there in place of Handle when the answer comes later (Pending).
	Start func(*Context, kmsg.Request, *Pending)
	// Large says that the answer of Start may be large however small the request is, so that few may wait on a connection.
	Large bool
}

// api makes a row from a typed handler. It holds the only type assertion.
func api[Q kmsg.Request, R kmsg.Response](min, max int16, checks []Check, fn func(*Context, Q) R) API {
	var zero Q
	var none R
	return API{
		Key: zero.Key(), Min: min, Max: max, Checks: checks,
		Handle: func(c *Context, r kmsg.Request) kmsg.Response {
			q, ok := r.(Q)
			if !ok {
				panic(fmt.Sprintf("handler: API %d was given a %T", zero.Key(), r))
			}
			resp := fn(c, q)
			if any(resp) == any(none) {
				return nil // and not an interface around a nil pointer, which Handle's caller would take for a response
			}
			return resp
		},
	}
}

// allowed asks the authorizer one question for this request.
func (d *Deps) allowed(c *Context, op acl.Operation, res acl.ResourceType, name string) bool {
	return d.Authorizer.Allowed(&acl.Request{Principal: c.Principal, Host: c.RemoteHost, Operation: op, Resource: res, Name: name})
}

// Deps is what handlers may touch, filled by the composition root.
type Deps struct {
	NodeID     metadata.BrokerID
	Metadata   *metadata.Cell
	Controller *controller.Client
	Admin      Admin
	Config     *config.Store
	Loggers    *config.Loggers
	Features   []Feature // what this broker supports, for ApiVersions
	Authorizer acl.Authorizer
	Quotas     *quota.Manager // nil: there are none
	Replicas   *replica.Manager
	Groups     *group.Coordinator
	Codecs     *record.Codecs
	// Limits returns the broker settings that the data path obeys, as of now. The result is not changed.
	Limits func() *Limits
	Logger *slog.Logger
}

// Limits are the broker settings that the data path obeys.
type Limits struct {
	FetchMaxBytes     int32         // fetch.max.bytes
	FetchSessionSlots int           // max.incremental.fetch.session.cache.slots
	FetchSessionAge   time.Duration // min.incremental.fetch.session.eviction.ms
	CommitTimeout     time.Duration // offsets.commit.timeout.ms
}
