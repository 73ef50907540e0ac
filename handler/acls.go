package handler

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/security/acl"
)

// DescribeAcls, CreateAcls and DeleteAcls (keys 29 to 31, versions 1 to 3 each; rules 7.14.6 to 7.14.8). This broker has
// no authorizer that keeps ACLs, and answers as Kafka does then: SECURITY_DISABLED.

func describeAclsAPI(d *Deps) API {
	return api(1, 3, []Check{{acl.Cluster, acl.Describe}}, d.describeAcls)
}

func createAclsAPI(d *Deps) API { return api(1, 3, []Check{{acl.Cluster, acl.Alter}}, d.createAcls) }
func deleteAclsAPI(d *Deps) API { return api(1, 3, []Check{{acl.Cluster, acl.Alter}}, d.deleteAcls) }

// noAuthorizer is the answer to whoever asks for ACLs: there is no authorizer, or else the cluster is none of their
// business.
func (d *Deps) noAuthorizer(c *Context, op acl.Operation) (code int16, text *string) {
	if !d.allowed(c, op, acl.Cluster, acl.ClusterName) {
		return d.explain(c, kerr.ClusterAuthorizationFailed)
	}
	return d.explain(c, refuse(kerr.SecurityDisabled, "no authorizer is configured (authorizer.class.name)"))
}

// knownACL reports whether none of the enums of an ACL or a filter is UNKNOWN. Kafka refuses to read such a request, and
// closes the connection.
func knownACL(resource kmsg.ACLResourceType, pattern kmsg.ACLResourcePatternType, op kmsg.ACLOperation, permission kmsg.ACLPermissionType) bool {
	return resource != kmsg.ACLResourceTypeUnknown && pattern != kmsg.ACLResourcePatternTypeUnknown &&
		op != kmsg.ACLOperationUnknown && permission != kmsg.ACLPermissionTypeUnknown
}

func (d *Deps) describeAcls(c *Context, req *kmsg.DescribeACLsRequest) *kmsg.DescribeACLsResponse {
	if !knownACL(req.ResourceType, req.ResourcePatternType, req.Operation, req.PermissionType) {
		return nil
	}
	resp := kmsg.NewPtrDescribeACLsResponse()
	resp.ErrorCode, resp.ErrorMessage = d.noAuthorizer(c, acl.Describe)
	return resp
}

func (d *Deps) createAcls(c *Context, req *kmsg.CreateACLsRequest) *kmsg.CreateACLsResponse {
	resp := kmsg.NewPtrCreateACLsResponse()
	row := kmsg.NewCreateACLsResponseResult()
	row.ErrorCode, row.ErrorMessage = d.noAuthorizer(c, acl.Alter)
	for _, a := range req.Creations {
		if !knownACL(a.ResourceType, a.ResourcePatternType, a.Operation, a.PermissionType) {
			return nil
		}
		resp.Results = append(resp.Results, row)
	}
	return resp
}

func (d *Deps) deleteAcls(c *Context, req *kmsg.DeleteACLsRequest) *kmsg.DeleteACLsResponse {
	resp := kmsg.NewPtrDeleteACLsResponse()
	row := kmsg.NewDeleteACLsResponseResult()
	row.ErrorCode, row.ErrorMessage = d.noAuthorizer(c, acl.Alter)
	for _, f := range req.Filters {
		if !knownACL(f.ResourceType, f.ResourcePatternType, f.Operation, f.PermissionType) {
			return nil
		}
		resp.Results = append(resp.Results, row)
	}
	return resp
}
