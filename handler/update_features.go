package handler

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/controller"
	"github.com/kbroker/kbroker/internal/security/acl"
)

// updateFeaturesAPI serves UpdateFeatures (key 57, versions 0 to 2; rule 7.12.1).
//
//	1  upgrade types, validate_only    2  no rows for single features in the answer
func updateFeaturesAPI(d *Deps) API {
	return api(0, 2, []Check{{acl.Cluster, acl.Alter}}, d.updateFeatures)
}

func (d *Deps) updateFeatures(c *Context, req *kmsg.UpdateFeaturesRequest) *kmsg.UpdateFeaturesResponse {
	resp := kmsg.NewPtrUpdateFeaturesResponse()
	resp.ErrorCode, resp.ErrorMessage = d.explain(c, d.finalize(c, req, featureUpdates(c, req)))
	if resp.ErrorCode != 0 || c.Version >= 2 {
		return resp
	}
	for _, u := range req.FeatureUpdates {
		row := kmsg.NewUpdateFeaturesResponseResult()
		row.Feature = u.Feature
		resp.Results = append(resp.Results, row)
	}
	return resp
}

// finalize has the controller make the updates of a request.
func (d *Deps) finalize(c *Context, req *kmsg.UpdateFeaturesRequest, updates []controller.FeatureUpdate) error {
	if !d.allowed(c, acl.Alter, acl.Cluster, acl.ClusterName) {
		return kerr.ClusterAuthorizationFailed
	}
	ctx, cancel := context.WithTimeout(c.Ctx, maxAdminWait) // Kafka does not look at the request's own timeout either
	defer cancel()
	failed, err := d.Controller.UpdateFeatures(ctx, updates, c.Version >= 1 && req.ValidateOnly)
	if err != nil && failed >= 0 && len(updates) > 1 {
		return &annotated{"no feature was updated, because of one: ", err}
	}
	return err
}

// featureUpdates puts a request into the controller's terms. Of a feature that is there twice the last update counts.
func featureUpdates(c *Context, req *kmsg.UpdateFeaturesRequest) []controller.FeatureUpdate {
	var updates []controller.FeatureUpdate
	seen := map[string]bool{}
	for _, u := range slices.Backward(req.FeatureUpdates) {
		if seen[u.Feature] {
			continue
		}
		seen[u.Feature] = true
		kind := controller.UpgradeType(u.UpgradeType)
		if c.Version == 0 { // which has a flag instead
			kind = controller.Upgrade
			if u.AllowDowngrade {
				kind = controller.SafeDowngrade
			}
		}
		updates = append(updates, controller.FeatureUpdate{Name: u.Feature, Level: u.MaxVersionLevel, Type: kind})
	}
	slices.Reverse(updates)
	return updates
}

// annotated is an error with words before its own, which keep its code.
type annotated struct {
	words string
	err   error
}

func (a *annotated) Error() string { return a.words + a.err.Error() }
func (a *annotated) Unwrap() error { return a.err }
