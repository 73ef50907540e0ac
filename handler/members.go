package handler

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/coordinator/group"
	"github.com/kbroker/kbroker/internal/security/acl"
)

// asMember has the machine of a group decide a request of one of its members. When the request goes no further (rules
// 8.1.5 and 8.1.6), or the machine cannot be asked, fail is told why.
func (d *Deps) asMember(c *Context, groupID string, decide func(*group.Machine, time.Time, *coordinator.Effects), fail func(error)) {
	switch {
	case !d.allowed(c, acl.Read, acl.Group, groupID):
		fail(kerr.GroupAuthorizationFailed)
	case groupID == "":
		fail(kerr.InvalidGroupID)
	default:
		d.Groups.Do(groupID, decide, fail)
	}
}

// answerOr hands a machine's response to p, and an error to fail.
func answerOr[R kmsg.Response](p *Pending, fail func(error)) func(R, error) {
	return func(resp R, err error) {
		if err != nil {
			fail(err)
			return
		}
		p.Answer(resp)
	}
}

// clientOf is who sends a request, as groups know it.
func clientOf(c *Context) group.Client { return group.Client{ID: c.ClientID, Host: "/" + c.RemoteHost} }

// codeOf is the error code of err, of which the answer has no more to say.
func (d *Deps) codeOf(c *Context, err error) int16 {
	code, _ := d.explain(c, err)
	return code
}
