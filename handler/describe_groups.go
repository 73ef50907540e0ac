package handler

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/coordinator/group"
	"github.com/kbroker/kbroker/internal/security/acl"
)

// groupOperations are the operations that groups know (rule 7.1.12).
var groupOperations = []acl.Operation{acl.Read, acl.Delete, acl.Describe, acl.DescribeConfigs, acl.AlterConfigs}

// describeGroupsAPI serves DescribeGroups (key 15, versions 0 to 6; rule 8.5.2).
func describeGroupsAPI(d *Deps) API {
	return large(deferred(0, 6, checksOf(acl.Group, acl.Describe, groupOperations), d.describeGroups))
}

func (d *Deps) describeGroups(c *Context, req *kmsg.DescribeGroupsRequest, p *Pending) {
	resp := kmsg.NewPtrDescribeGroupsResponse()
	resp.Groups = make([]kmsg.DescribeGroupsResponseGroup, len(req.Groups))
	named := tellings{}
	for i, id := range req.Groups {
		row := &resp.Groups[i]
		row.Default()
		row.Group = id
		switch {
		case !d.allowed(c, acl.Describe, acl.Group, id):
			row.ErrorCode = kerr.GroupAuthorizationFailed.Code
		case !named.another(id):
			row.ErrorCode = kerr.InvalidRequest.Code
		case req.IncludeAuthorizedOperations:
			row.AuthorizedOperations = d.authorizedOperations(c, acl.Group, id, groupOperations)
		}
	}
	all := &gather{done: func() { p.Answer(resp) }}
	all.expect(len(req.Groups))
	d.eachGroup(req.Groups, func(i int, m *group.Machine, e *coordinator.Effects) {
		row := resp.Groups[i]
		d.describeGroup(c, &row, m)
		e.AnswerNow(func(error) { all.part(i, func() { resp.Groups[i] = row }) })
	}, func(i int, err error) {
		all.part(i, func() { failGroup(&resp.Groups[i], d.codeOf(c, err)) })
	})
}

// maxTellings is how often an answer tells of one group. A request of a few megabytes may name it a million times, and
// what it has may be as large as the request; Kafka repeats it all.
const maxTellings = 8

// tellings counts how often a request has named each group so far.
type tellings map[string]int

// another counts, and reports whether the group is to be told of once more.
func (t tellings) another(id string) bool {
	t[id]++
	return t[id] <= maxTellings
}

// describeGroup fills in the row of a group. A group that is not there is Dead, and not found from version 6 on (rule
// 8.5.2).
func (d *Deps) describeGroup(c *Context, row *kmsg.DescribeGroupsResponseGroup, m *group.Machine) {
	if row.ErrorCode != 0 || m.DescribeClassic(row) {
		return
	}
	if c.Version >= 6 {
		failGroup(row, kerr.GroupIDNotFound.Code)
		row.ErrorMessage = kmsg.StringPtr("Group " + row.Group + " not found.")
	}
	row.State = "Dead"
}

// failGroup has a row that is not refused already answer with an error.
func failGroup(row *kmsg.DescribeGroupsResponseGroup, code int16) {
	if row.ErrorCode == 0 {
		row.ErrorCode, row.AuthorizedOperations = code, noOperations
	}
}
