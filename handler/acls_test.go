package handler

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// What the handler of an ACL refuses to read ends the connection with a reason, and without a response to encode: a nil
// pointer in an interface would be one.
func TestUnknownACLIsRefused(t *testing.T) {
	cl := newCluster(t)
	create, remove := kmsg.NewPtrCreateACLsRequest(), kmsg.NewPtrDeleteACLsRequest()
	create.Creations = append(create.Creations, kmsg.NewCreateACLsRequestCreation())
	remove.Filters = append(remove.Filters, kmsg.NewDeleteACLsRequestFilter())
	for _, x := range []struct {
		row API
		req kmsg.Request
	}{
		{describeAclsAPI(cl.deps), kmsg.NewPtrDescribeACLsRequest()}, {createAclsAPI(cl.deps), create}, {deleteAclsAPI(cl.deps), remove},
	} {
		if resp := x.row.Handle(&Context{Session: &Session{}, Ctx: t.Context(), Key: x.row.Key, Version: x.row.Max}, x.req); resp != nil {
			t.Errorf("API %d answers an unknown ACL with %#v", x.row.Key, resp)
		}
	}
}
