package controller

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/metadata"
)

// ScramAlteration sets the credential of a user, or with a nil Credential deletes it.
type ScramAlteration struct {
	User       metadata.ScramUser
	Credential *metadata.ScramCredential
}

// alterScram is what is left of AlterUserScramCredentials when the request itself was checked (rule 7.10.2).
type alterScram struct {
	alterations []ScramAlteration

	errs []error
}

func (a *alterScram) decide(d *decision) error {
	if len(a.alterations) > maxRecords {
		return errTooManyRecords()
	}
	a.errs = make([]error, len(a.alterations))
	for i, alteration := range a.alterations {
		if alteration.Credential == nil && d.head.ScramCredential(alteration.User) == nil {
			a.errs[i] = refuse(kerr.ResourceNotFound, "user %s has no credential of this mechanism", alteration.User.Name)
			continue
		}
		if err := d.write(&metadata.ScramCredentialRecord{User: alteration.User, Credential: alteration.Credential}); err != nil {
			return fmt.Errorf("alter the credential of user %s: %w", alteration.User.Name, err)
		}
	}
	return nil
}
