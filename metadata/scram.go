package metadata

import (
	"cmp"
	"fmt"
	"strings"
)

// ScramMechanism is Kafka's code of a SCRAM mechanism (rule 7.10.1).
type ScramMechanism int8

// SCRAM mechanisms.
const (
	ScramSHA256 ScramMechanism = 1
	ScramSHA512 ScramMechanism = 2
)

// ScramUser names a credential: each user has at most one for a mechanism.
type ScramUser struct {
	Name      string
	Mechanism ScramMechanism
}

func (u ScramUser) compare(o ScramUser) int {
	return cmp.Or(strings.Compare(u.Name, o.Name), cmp.Compare(u.Mechanism, o.Mechanism))
}

// ScramCredential is what a server keeps of a password (RFC 5802): enough to check a proof of it, and not enough to
// make one. Its slices must not be changed.
type ScramCredential struct {
	Salt, StoredKey, ServerKey []byte
	Iterations                 int32
}

// ScramCredential returns the credential of a user, or nil.
func (im *Image) ScramCredential(u ScramUser) *ScramCredential {
	c, _ := im.scram.get(u)
	return c
}

// ScramCredentials calls yield for each credential, by user and mechanism.
func (im *Image) ScramCredentials(yield func(ScramUser, *ScramCredential) bool) { im.scram.all(yield) }

// ScramCredentialRecord sets the credential of a user, or takes it back.
type ScramCredentialRecord struct {
	User       ScramUser
	Credential *ScramCredential // nil takes the credential back
}

func (*ScramCredentialRecord) kind() kind { return kindScramCredential }

func (r *ScramCredentialRecord) encode(w *writer) {
	w.string(r.User.Name)
	w.int(int64(r.User.Mechanism))
	w.bool(r.Credential != nil)
	if c := r.Credential; c != nil {
		w.string(string(c.Salt))
		w.string(string(c.StoredKey))
		w.string(string(c.ServerKey))
		w.int(int64(c.Iterations))
	}
}

func (r *ScramCredentialRecord) decode(rd *reader) {
	*r = ScramCredentialRecord{User: ScramUser{rd.string(), ScramMechanism(rd.int8())}}
	if rd.bool() {
		r.Credential = &ScramCredential{Salt: []byte(rd.string()), StoredKey: []byte(rd.string()), ServerKey: []byte(rd.string()), Iterations: rd.int32()}
	}
}

func (r *ScramCredentialRecord) apply(d *delta) error {
	if r.User.Name == "" {
		return fmt.Errorf("a SCRAM credential of nobody")
	}
	if d.scram == nil {
		d.scram = map[ScramUser]*ScramCredential{}
	}
	d.scram[r.User] = r.Credential
	return nil
}
