package handler

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/coordinator/group"
	"github.com/kbroker/kbroker/internal/security/acl"
)

// deleteGroupsAPI serves DeleteGroups (key 42, versions 0 to 2; rule 8.4.16).
func deleteGroupsAPI(d *Deps) API {
	return deferred(0, 2, []Check{{acl.Group, acl.Delete}}, d.deleteGroups)
}

func (d *Deps) deleteGroups(c *Context, req *kmsg.DeleteGroupsRequest, p *Pending) {
	ids := slices.Compact(slices.Sorted(slices.Values(req.Groups))) // each has one row
	resp := kmsg.NewPtrDeleteGroupsResponse()
	resp.Groups = make([]kmsg.DeleteGroupsResponseGroup, len(ids))
	all := &gather{done: func() { p.Answer(resp) }}
	all.expect(len(ids))
	for i, id := range ids {
		row := &resp.Groups[i]
		row.Group = id
		done := func(err error) { all.part(func() { row.ErrorCode = code(err) }) }
		if !d.allowed(c, acl.Delete, acl.Group, id) {
			done(kerr.GroupAuthorizationFailed)
			continue
		}
		d.Groups.Do(id, func(m *group.Machine, _ time.Time, e *coordinator.Effects) { m.DeleteGroup(id, done, e) }, done)
	}
}
