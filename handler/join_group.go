package handler

import (
	"bytes"
	"time"

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
	fail := func(err error) {
		resp := kmsg.NewPtrJoinGroupResponse()
		resp.ErrorCode, resp.MemberID = d.codeOf(c, err), req.MemberID
		p.Answer(resp)
	}
	for i := range req.Protocols { // they outlive the frame
		req.Protocols[i].Metadata = bytes.Clone(req.Protocols[i].Metadata)
	}
	from := clientOf(c)
	d.asMember(c, req.Group, func(m *group.Machine, now time.Time, e *coordinator.Effects) {
		m.JoinGroup(now, req, from, answerOr[*kmsg.JoinGroupResponse](p, fail), e)
	}, fail)
}
