package handler

import (
	"slices"

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
	var asked []string
	var places []int // of those asked, among all
	for i, id := range ids {
		resp.Groups[i].Group = id
		if !d.allowed(c, acl.Delete, acl.Group, id) {
			resp.Groups[i].ErrorCode = kerr.GroupAuthorizationFailed.Code
			continue
		}
		asked, places = append(asked, id), append(places, i)
	}
	all := &gather{done: func() { p.Answer(resp) }}
	all.expect(len(asked))
	done := func(i int, err error) { all.part(i, func() { resp.Groups[places[i]].ErrorCode = code(err) }) }
	d.eachGroup(asked, func(i int, m *group.Machine, e *coordinator.Effects) {
		m.DeleteGroup(asked[i], func(err error) { done(i, err) }, e)
	}, done)
}
