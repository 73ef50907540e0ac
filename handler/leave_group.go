package handler

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/coordinator/group"
	"github.com/kbroker/kbroker/internal/security/acl"
)

// leaveGroupAPI serves LeaveGroup (key 13, versions 0 to 5; rule 8.3.11).
func leaveGroupAPI(d *Deps) API {
	return deferred(0, 5, []Check{{acl.Group, acl.Read}}, d.leaveGroup)
}

func (d *Deps) leaveGroup(c *Context, req *kmsg.LeaveGroupRequest, p *Pending) {
	fail := func(err error) {
		resp := kmsg.NewPtrLeaveGroupResponse()
		resp.ErrorCode = d.codeOf(c, err)
		p.Answer(resp)
	}
	d.asMember(c, req.Group, func(m *group.Machine, now time.Time, e *coordinator.Effects) {
		m.LeaveGroup(now, req, answerOr[*kmsg.LeaveGroupResponse](p, fail), e)
	}, fail)
}
