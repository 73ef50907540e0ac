package handler

import (
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/coordinator/group"
	"github.com/kbroker/kbroker/internal/security/acl"
)

// heartbeatAPI serves Heartbeat (key 12, versions 0 to 4; rule 8.3.10).
func heartbeatAPI(d *Deps) API {
	return deferred(0, 4, []Check{{acl.Group, acl.Read}}, d.heartbeat)
}

func (d *Deps) heartbeat(c *Context, req *kmsg.HeartbeatRequest, p *Pending) {
	fail := func(err error) {
		resp := kmsg.NewPtrHeartbeatResponse()
		if !errors.Is(err, kerr.CoordinatorLoadInProgress) { // who is loading knows nobody, which is no reason to leave
			resp.ErrorCode = d.codeOf(c, err)
		}
		p.Answer(resp)
	}
	d.asMember(c, req.Group, func(m *group.Machine, now time.Time, e *coordinator.Effects) {
		m.Heartbeat(now, req, answerOr[*kmsg.HeartbeatResponse](p, fail), e)
	}, fail)
}
