package handler

import (
	"bytes"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/coordinator/group"
	"github.com/kbroker/kbroker/internal/security/acl"
)

// joinGroupAPI serves JoinGroup (key 11, versions 0 to 9; rules 8.3.3 to 8.3.8). The answer comes when the rebalance has
// completed that the member joins.
func joinGroupAPI(d *Deps) API {
	return deferred(0, 9, []Check{{acl.Group, acl.Read}}, d.joinGroup)
}

func (d *Deps) joinGroup(c *Context, req *kmsg.JoinGroupRequest, p *Pending) {
	refuse := func(err error) {
		resp := kmsg.NewPtrJoinGroupResponse()
		resp.ErrorCode, resp.MemberID = d.codeOf(c, err), req.MemberID
		p.Answer(resp)
	}
	if err := d.refusesMember(c, req.Group); err != nil {
		refuse(err)
		return
	}
	for i := range req.Protocols { // they outlive the frame
		req.Protocols[i].Metadata = bytes.Clone(req.Protocols[i].Metadata)
	}
	from := clientOf(c)
	d.Groups.Do(req.Group, func(m *group.Machine, now time.Time, e *coordinator.Effects) {
		m.JoinGroup(now, req, from, func(resp *kmsg.JoinGroupResponse, err error) {
			if err != nil {
				refuse(err)
				return
			}
			p.Answer(resp)
		}, e)
	}, refuse)
}

// refusesMember says why a request of a group's member goes no further, nil if it does (rules 8.1.5 and 8.1.6).
func (d *Deps) refusesMember(c *Context, groupID string) error {
	if !d.allowed(c, acl.Read, acl.Group, groupID) {
		return kerr.GroupAuthorizationFailed
	}
	if groupID == "" {
		return kerr.InvalidGroupID
	}
	return nil
}

// codeOf is the error code of err, of which the answer has no more to say.
func (d *Deps) codeOf(c *Context, err error) int16 {
	code, _ := d.explain(c, err)
	return code
}
