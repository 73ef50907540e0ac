package handler

import (
	"bytes"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/coordinator/group"
	"github.com/kbroker/kbroker/internal/security/acl"
)

// syncGroupAPI serves SyncGroup (key 14, versions 0 to 5; rule 8.3.9). The answer comes when the leader has said who gets
// what.
func syncGroupAPI(d *Deps) API {
	return deferred(0, 5, []Check{{acl.Group, acl.Read}}, d.syncGroup)
}

func (d *Deps) syncGroup(c *Context, req *kmsg.SyncGroupRequest, p *Pending) {
	fail := func(err error) {
		resp := kmsg.NewPtrSyncGroupResponse()
		if errors.Is(err, kerr.CoordinatorLoadInProgress) {
			err = kerr.RebalanceInProgress // the Java client takes the other one for fatal here
		}
		resp.ErrorCode = d.codeOf(c, err)
		p.Answer(resp)
	}
	if c.Version >= 5 && (req.ProtocolType == nil || req.Protocol == nil) {
		fail(kerr.InconsistentGroupProtocol)
		return
	}
	for i := range req.GroupAssignment { // they outlive the frame
		req.GroupAssignment[i].MemberAssignment = bytes.Clone(req.GroupAssignment[i].MemberAssignment)
	}
	d.asMember(c, req.Group, func(m *group.Machine, now time.Time, e *coordinator.Effects) {
		m.SyncGroup(now, req, answerOr[*kmsg.SyncGroupResponse](p, fail), e)
	}, fail)
}
