package handler

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/controller"
	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/metadata"
)

// describeScramCredentialsAPI serves DescribeUserScramCredentials (key 50, version 0; rule 7.10.3).
func describeScramCredentialsAPI(d *Deps) API {
	return api(0, 0, []Check{{acl.Cluster, acl.Describe}}, d.describeScramCredentials)
}

func (d *Deps) describeScramCredentials(c *Context, req *kmsg.DescribeUserSCRAMCredentialsRequest) *kmsg.DescribeUserSCRAMCredentialsResponse {
	resp := kmsg.NewPtrDescribeUserSCRAMCredentialsResponse()
	if !d.allowed(c, acl.Describe, acl.Cluster, acl.ClusterName) {
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		return resp
	}
	resp.ErrorMessage = new("")
	infos := map[string][]kmsg.DescribeUserSCRAMCredentialsResponseResultCredentialInfo{}
	var names []string
	for u, credential := range d.Metadata.Load().ScramCredentials {
		info := kmsg.NewDescribeUserSCRAMCredentialsResponseResultCredentialInfo()
		info.Mechanism, info.Iterations = int8(u.Mechanism), credential.Iterations
		if infos[u.Name] == nil {
			names = append(names, u.Name)
		}
		infos[u.Name] = append(infos[u.Name], info)
	}
	times := map[string]int{}
	if len(req.Users) > 0 {
		names = nil
		for _, u := range req.Users {
			if times[u.Name]++; times[u.Name] == 1 {
				names = append(names, u.Name)
			}
		}
	}
	for _, name := range names {
		row := kmsg.NewDescribeUserSCRAMCredentialsResponseResult()
		row.User = name
		switch {
		case times[name] > 1:
			row.ErrorCode, row.ErrorMessage = d.explain(c, refuse(kerr.DuplicateResource, "the request names user %q more than once", name))
		case infos[name] == nil:
			row.ErrorCode, row.ErrorMessage = d.explain(c, refuse(kerr.ResourceNotFound, "user %q has no SCRAM credential", name))
		default:
			row.CredentialInfos, row.ErrorMessage = infos[name], new("")
		}
		resp.Results = append(resp.Results, row)
	}
	return resp
}

// alterScramCredentialsAPI serves AlterUserScramCredentials (key 51, version 0; rules 7.10.1 and 7.10.2).
func alterScramCredentialsAPI(d *Deps) API {
	return api(0, 0, []Check{{acl.Cluster, acl.Alter}}, d.alterScramCredentials)
}

// Bounds on the iterations of a credential (rule 7.10.1).
const (
	minIterations = 4096
	maxIterations = 16384
)

func (d *Deps) alterScramCredentials(c *Context, req *kmsg.AlterUserSCRAMCredentialsRequest) *kmsg.AlterUserSCRAMCredentialsResponse {
	a := scramAlterations{image: d.Metadata.Load(), errs: map[string]error{}}
	if d.allowed(c, acl.Alter, acl.Cluster, acl.ClusterName) {
		a.read(req)
	} else {
		for _, name := range scramUsers(req) {
			a.refuse(name, kerr.ClusterAuthorizationFailed)
		}
	}
	d.applyScram(c, &a)
	resp := kmsg.NewPtrAlterUserSCRAMCredentialsResponse()
	for _, name := range a.names {
		row := kmsg.NewAlterUserSCRAMCredentialsResponseResult()
		row.User = name
		row.ErrorCode, row.ErrorMessage = d.explain(c, a.errs[name])
		resp.Results = append(resp.Results, row)
	}
	return resp
}

// applyScram asks the controller for what the request came to.
func (d *Deps) applyScram(c *Context, a *scramAlterations) {
	a.wanted = slices.DeleteFunc(a.wanted, func(w controller.ScramAlteration) bool { return a.errs[w.User.Name] != nil })
	if len(a.wanted) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(c.Ctx, maxAdminWait)
	defer cancel()
	errs, err := d.Controller.AlterScramCredentials(ctx, a.wanted)
	for i, w := range a.wanted {
		if a.errs[w.User.Name] = err; err == nil {
			a.errs[w.User.Name] = errs[i]
		}
	}
}

// scramUsers returns the users that a request names, each as often as it does.
func scramUsers(req *kmsg.AlterUserSCRAMCredentialsRequest) (names []string) {
	for _, x := range req.Deletions {
		names = append(names, x.Name)
	}
	for _, x := range req.Upsertions {
		names = append(names, x.Name)
	}
	return names
}

// scramAlterations is an AlterUserScramCredentials request being checked.
type scramAlterations struct {
	image  *metadata.Image
	names  []string         // each user once
	errs   map[string]error // of all names, nil as yet for a user that is altered
	wanted []controller.ScramAlteration
}

// refuse records the error of a user, nil for none yet. The first error counts.
func (a *scramAlterations) refuse(name string, err error) {
	earlier, known := a.errs[name]
	if !known {
		a.names = append(a.names, name)
	}
	if earlier == nil {
		a.errs[name] = err
	}
}

// want records an alteration, unless something is wrong with it or the user is altered already: then the user is not
// altered at all (rule 7.10.2). What comes behind a user's first error is not looked at.
func (a *scramAlterations) want(u metadata.ScramUser, credential *metadata.ScramCredential, err error) {
	earlier, known := a.errs[u.Name]
	if earlier != nil {
		return
	}
	if known {
		err = refuse(kerr.DuplicateResource, "the request alters user %q more than once", u.Name)
	}
	if a.refuse(u.Name, err); err == nil {
		a.wanted = append(a.wanted, controller.ScramAlteration{User: u, Credential: credential})
	}
}

// read checks a request.
func (a *scramAlterations) read(req *kmsg.AlterUserSCRAMCredentialsRequest) {
	for _, x := range req.Deletions {
		u := metadata.ScramUser{Name: x.Name, Mechanism: metadata.ScramMechanism(x.Mechanism)}
		err := checkScramUser(u)
		if err == nil && a.image.ScramCredential(u) == nil {
			err = refuse(kerr.ResourceNotFound, "user %q has no credential of this mechanism", u.Name)
		}
		a.want(u, nil, err)
	}
	for _, x := range req.Upsertions {
		u := metadata.ScramUser{Name: x.Name, Mechanism: metadata.ScramMechanism(x.Mechanism)}
		err := checkScramUser(u)
		switch {
		case err != nil:
		case x.Iterations < minIterations:
			err = refuse(kerr.UnacceptableCredential, "%d iterations are fewer than %d", x.Iterations, minIterations)
		case x.Iterations > maxIterations:
			err = refuse(kerr.UnacceptableCredential, "%d iterations are more than %d", x.Iterations, maxIterations)
		case len(x.SaltedPassword) == 0: // where Kafka fails with UNKNOWN_SERVER_ERROR
			err = refuse(kerr.UnacceptableCredential, "the salted password is empty")
		}
		var credential *metadata.ScramCredential
		if err == nil {
			credential = newScramCredential(u.Mechanism, &x)
		}
		a.want(u, credential, err)
	}
}

func checkScramUser(u metadata.ScramUser) error {
	switch {
	case u.Name == "":
		return refuse(kerr.UnacceptableCredential, "the name of a user is empty")
	case u.Mechanism != metadata.ScramSHA256 && u.Mechanism != metadata.ScramSHA512:
		return refuse(kerr.UnsupportedSaslMechanism, "there is no SCRAM mechanism %d", u.Mechanism)
	}
	return nil
}

// newScramCredential makes what is kept of a salted password (RFC 5802, section 3), which itself is not.
func newScramCredential(m metadata.ScramMechanism, x *kmsg.AlterUserSCRAMCredentialsRequestUpsertion) *metadata.ScramCredential {
	algorithm := sha256.New
	if m == metadata.ScramSHA512 {
		algorithm = sha512.New
	}
	clientKey := keyed(algorithm, x.SaltedPassword, "Client Key")
	h := algorithm()
	h.Write(clientKey)
	return &metadata.ScramCredential{
		Salt: slices.Clone(x.Salt), StoredKey: h.Sum(nil), ServerKey: keyed(algorithm, x.SaltedPassword, "Server Key"), Iterations: x.Iterations,
	}
}

// keyed is the HMAC of a text under a key.
func keyed(algorithm func() hash.Hash, key []byte, text string) []byte {
	mac := hmac.New(algorithm, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}
