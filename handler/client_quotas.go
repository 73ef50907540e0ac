package handler

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/controller"
	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/metadata"
)

// Types of entities that quotas are for (rule 7.9.1).
const (
	quotaUser     = "user"
	quotaClientID = "client-id"
	quotaIP       = "ip"
)

// quotaPart returns the part of an entity that a type names, nil for an unknown type.
func quotaPart(e *metadata.QuotaEntity, kind string) *metadata.QuotaName {
	switch kind {
	case quotaUser:
		return &e.User
	case quotaClientID:
		return &e.ClientID
	case quotaIP:
		return &e.IP
	}
	return nil
}

// describeClientQuotasAPI serves DescribeClientQuotas (key 48, versions 0 and 1; rule 7.9.2).
func describeClientQuotasAPI(d *Deps) API {
	return api(0, 1, []Check{{acl.Cluster, acl.DescribeConfigs}}, d.describeClientQuotas)
}

func (d *Deps) describeClientQuotas(c *Context, req *kmsg.DescribeClientQuotasRequest) *kmsg.DescribeClientQuotasResponse {
	resp := kmsg.NewPtrDescribeClientQuotasResponse()
	fail := func(err error) *kmsg.DescribeClientQuotasResponse {
		resp.ErrorCode, resp.ErrorMessage = d.explain(c, err)
		return resp
	}
	if !d.allowed(c, acl.DescribeConfigs, acl.Cluster, acl.ClusterName) {
		return fail(kerr.ClusterAuthorizationFailed)
	}
	filter, err := newQuotaFilter(req)
	if err != nil {
		return fail(err)
	}
	resp.Entries, resp.ErrorMessage = []kmsg.DescribeClientQuotasResponseEntry{}, new("")
	for e, quotas := range d.Metadata.Load().ClientQuotas {
		if filter.matches(e) {
			resp.Entries = append(resp.Entries, describedQuotas(e, quotas))
		}
	}
	return resp
}

func describedQuotas(e metadata.QuotaEntity, quotas map[string]float64) kmsg.DescribeClientQuotasResponseEntry {
	row := kmsg.NewDescribeClientQuotasResponseEntry()
	for _, kind := range []string{quotaUser, quotaClientID, quotaIP} {
		part := *quotaPart(&e, kind)
		if part.Kind == metadata.QuotaAbsent {
			continue
		}
		entity := kmsg.NewDescribeClientQuotasResponseEntryEntity()
		if entity.Type = kind; part.Kind == metadata.QuotaNamed {
			entity.Name = &part.Name
		}
		row.Entity = append(row.Entity, entity)
	}
	for _, key := range slices.Sorted(maps.Keys(quotas)) {
		value := kmsg.NewDescribeClientQuotasResponseEntryValue()
		value.Key, value.Value = key, quotas[key]
		row.Values = append(row.Values, value)
	}
	return row
}

// quotaFilter says which entities a request is about.
type quotaFilter struct {
	// entity has the parts that an entity must have. A part whose any is set may have any name.
	entity metadata.QuotaEntity
	any    map[string]bool
	strict bool // an entity has no other parts
}

// newQuotaFilter checks the components of a request.
func newQuotaFilter(req *kmsg.DescribeClientQuotasRequest) (*quotaFilter, error) {
	f := &quotaFilter{any: map[string]bool{}, strict: req.Strict}
	for _, x := range req.Components {
		part := quotaPart(&f.entity, x.EntityType)
		switch {
		case x.EntityType == "":
			return nil, refuse(kerr.InvalidRequest, "the type of an entity is empty")
		case part == nil:
			return nil, refuse(kerr.UnsupportedVersion, "there is no entity type %q", x.EntityType)
		case part.Kind != metadata.QuotaAbsent:
			return nil, refuse(kerr.InvalidRequest, "entity type %s is there twice", x.EntityType)
		case x.MatchType == kmsg.QuotasMatchTypeExact && x.Match == nil:
			return nil, refuse(kerr.InvalidRequest, "%s is to match exactly, and no name is given", x.EntityType)
		case x.MatchType == kmsg.QuotasMatchTypeExact:
			*part = metadata.QuotaName{Kind: metadata.QuotaNamed, Name: *x.Match}
			continue
		case x.MatchType != kmsg.QuotasMatchTypeDefault && x.MatchType != kmsg.QuotasMatchTypeAny:
			return nil, refuse(kerr.InvalidRequest, "there is no match type %d", x.MatchType)
		case x.Match != nil:
			return nil, refuse(kerr.InvalidRequest, "a name is given for %s, and none is to be matched", x.EntityType)
		}
		part.Kind = metadata.QuotaDefault
		f.any[x.EntityType] = x.MatchType == kmsg.QuotasMatchTypeAny
	}
	if e := &f.entity; e.IP.Kind != metadata.QuotaAbsent && (e.User.Kind != metadata.QuotaAbsent || e.ClientID.Kind != metadata.QuotaAbsent) {
		return nil, refuse(kerr.InvalidRequest, "ip cannot be combined with user or client-id")
	}
	return f, nil
}

func (f *quotaFilter) matches(e metadata.QuotaEntity) bool {
	for _, kind := range []string{quotaUser, quotaClientID, quotaIP} {
		want, has := *quotaPart(&f.entity, kind), *quotaPart(&e, kind)
		switch {
		case want.Kind == metadata.QuotaAbsent:
			if f.strict && has.Kind != metadata.QuotaAbsent {
				return false
			}
		case f.any[kind]:
			if has.Kind == metadata.QuotaAbsent {
				return false
			}
		case want != has:
			return false
		}
	}
	return true
}

// alterClientQuotasAPI serves AlterClientQuotas (key 49, versions 0 and 1; rule 7.9.1).
func alterClientQuotasAPI(d *Deps) API {
	return api(0, 1, []Check{{acl.Cluster, acl.AlterConfigs}}, d.alterClientQuotas)
}

func (d *Deps) alterClientQuotas(c *Context, req *kmsg.AlterClientQuotasRequest) *kmsg.AlterClientQuotasResponse {
	rows := quotaRows(req)
	var wanted []controller.QuotaAlteration
	var altered []*quotaRow // whose alterations they are
	permitted := d.allowed(c, acl.AlterConfigs, acl.Cluster, acl.ClusterName)
	for _, row := range rows {
		if !permitted {
			row.err = kerr.ClusterAuthorizationFailed
		}
		if row.err == nil {
			wanted, altered = append(wanted, row.alteration), append(altered, row)
		}
	}
	if len(wanted) > 0 {
		ctx, cancel := context.WithTimeout(c.Ctx, maxAdminWait)
		defer cancel()
		errs, err := d.Controller.AlterClientQuotas(ctx, wanted, req.ValidateOnly)
		for i, row := range altered {
			if row.err = err; err == nil {
				row.err = errs[i]
			}
		}
	}
	resp := kmsg.NewPtrAlterClientQuotasResponse()
	for _, row := range rows {
		r := kmsg.NewAlterClientQuotasResponseEntry()
		r.ErrorCode, r.ErrorMessage = d.explain(c, row.err)
		for _, x := range row.entity {
			entity := kmsg.NewAlterClientQuotasResponseEntryEntity()
			entity.Type, entity.Name = x.Type, x.Name
			r.Entity = append(r.Entity, entity)
		}
		resp.Entries = append(resp.Entries, r)
	}
	return resp
}

// quotaRow is one entity of an AlterClientQuotas request, however often the request names it.
type quotaRow struct {
	entity     []kmsg.AlterClientQuotasRequestEntryEntity // by type, each once
	alteration controller.QuotaAlteration
	err        error
}

// quotaRows reads a request. An entity that it names more than once is not altered.
func quotaRows(req *kmsg.AlterClientQuotasRequest) []*quotaRow {
	var rows []*quotaRow
	seen := map[string]*quotaRow{}
	for i := range req.Entries {
		row := newQuotaRow(&req.Entries[i])
		key := row.key()
		if first := seen[key]; first != nil {
			first.err = refuse(kerr.InvalidRequest, "the request names this entity more than once")
			continue
		}
		seen[key] = row
		rows = append(rows, row)
	}
	return rows
}

// newQuotaRow puts an entry of the request into the controller's terms. Of a type that is there twice the last counts.
func newQuotaRow(e *kmsg.AlterClientQuotasRequestEntry) *quotaRow {
	row := &quotaRow{alteration: controller.QuotaAlteration{Set: map[string]*float64{}}}
	places := map[string]int{} // of types: a request may have a million
	for _, x := range e.Entity {
		if at, twice := places[x.Type]; twice {
			row.entity[at] = x
		} else {
			places[x.Type] = len(row.entity)
			row.entity = append(row.entity, x)
		}
		part := quotaPart(&row.alteration.Entity, x.Type)
		if part == nil {
			row.err = refuse(kerr.InvalidRequest, "there is no entity type %q", x.Type)
			continue
		}
		if *part = (metadata.QuotaName{Kind: metadata.QuotaDefault}); x.Name != nil {
			*part = metadata.QuotaName{Kind: metadata.QuotaNamed, Name: *x.Name}
		}
	}
	slices.SortFunc(row.entity, func(a, b kmsg.AlterClientQuotasRequestEntryEntity) int { return strings.Compare(a.Type, b.Type) })
	for _, op := range e.Ops {
		if _, twice := row.alteration.Set[op.Key]; twice {
			row.err = refuse(kerr.InvalidRequest, "quota %s is altered twice", op.Key)
		}
		row.alteration.Set[op.Key] = nil
		if !op.Remove {
			row.alteration.Set[op.Key] = &op.Value
		}
	}
	return row
}

// key is the entity as text.
func (row *quotaRow) key() string {
	var b strings.Builder
	for _, x := range row.entity {
		if fmt.Fprintf(&b, "%q=", x.Type); x.Name != nil {
			fmt.Fprintf(&b, "%q ", *x.Name)
		}
	}
	return b.String()
}
