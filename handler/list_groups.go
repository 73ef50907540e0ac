package handler

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/coordinator/group"
	"github.com/kbroker/kbroker/internal/security/acl"
)

// listGroupsAPI serves ListGroups (key 16, versions 0 to 5; rule 8.5.1).
func listGroupsAPI(d *Deps) API {
	return large(deferred(0, 5, []Check{{acl.Cluster, acl.Describe}, {acl.Group, acl.Describe}}, d.listGroups))
}

func (d *Deps) listGroups(c *Context, req *kmsg.ListGroupsRequest, p *Pending) {
	var groups []kmsg.ListGroupsResponseGroup
	var failure error
	all := &gather{done: func() {
		resp := kmsg.NewPtrListGroupsResponse()
		if resp.ErrorCode = code(failure); failure == nil {
			resp.Groups = d.listable(c, groups)
		}
		p.Answer(resp)
	}}
	fail := func(i int, err error) {
		all.part(i, func() {
			// A partition that is led elsewhere meanwhile is listed there.
			if !errors.Is(err, kerr.NotCoordinator) {
				failure = err
			}
		})
	}
	listing := group.NewListing(req.StatesFilter, req.TypesFilter)
	d.Groups.DoEach(all.expect, func(i int, m *group.Machine, _ time.Time, e *coordinator.Effects) {
		m.ListGroups(listing, func(rows []kmsg.ListGroupsResponseGroup, err error) {
			if err != nil {
				fail(i, err)
				return
			}
			all.part(i, func() { groups = append(groups, rows...) })
		}, e)
	}, fail)
}

// listable returns the groups that the caller may see, by id.
func (d *Deps) listable(c *Context, groups []kmsg.ListGroupsResponseGroup) []kmsg.ListGroupsResponseGroup {
	if !d.allowed(c, acl.Describe, acl.Cluster, acl.ClusterName) {
		groups = slices.DeleteFunc(groups, func(g kmsg.ListGroupsResponseGroup) bool {
			return !d.allowed(c, acl.Describe, acl.Group, g.Group)
		})
	}
	slices.SortFunc(groups, func(a, b kmsg.ListGroupsResponseGroup) int { return strings.Compare(a.Group, b.Group) })
	return groups
}
