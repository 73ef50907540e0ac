package metadata

import (
	"cmp"
	"fmt"
	"math"
	"strings"
)

// QuotaEntity is whom client quotas are for (rule 7.9.1): a user, a client id, both together, or an address. What it
// does not have is the zero QuotaName.
type QuotaEntity struct{ User, ClientID, IP QuotaName }

// QuotaName is a part of a QuotaEntity: absent, one name, or the default for whoever has no entity of their own.
type QuotaName struct {
	Kind QuotaKind
	Name string // empty unless Kind is QuotaNamed
}

// QuotaKind says what a QuotaName stands for. The numbers are those on disk.
type QuotaKind uint8

// Kinds of QuotaName.
const (
	QuotaAbsent  QuotaKind = 0
	QuotaDefault QuotaKind = 1
	QuotaNamed   QuotaKind = 2
)

func (n QuotaName) compare(o QuotaName) int {
	return cmp.Or(cmp.Compare(n.Kind, o.Kind), strings.Compare(n.Name, o.Name))
}

func (e QuotaEntity) compare(o QuotaEntity) int {
	return cmp.Or(e.User.compare(o.User), e.ClientID.compare(o.ClientID), e.IP.compare(o.IP))
}

// ClientQuota returns the quotas of an entity by their key, such as "producer_byte_rate". The map must not be changed.
func (im *Image) ClientQuota(e QuotaEntity) map[string]float64 {
	q, _ := im.clientQuotas.get(e)
	return q
}

// ClientQuotas calls yield for each entity that has at least one quota, in an order of their own.
func (im *Image) ClientQuotas(yield func(QuotaEntity, map[string]float64) bool) {
	im.clientQuotas.all(yield)
}

// SameClientQuotas reports whether no client quota differs between two images that follow one another: they share what
// did not change, so the answer costs nothing.
func (im *Image) SameClientQuotas(o *Image) bool { return im.clientQuotas.same(&o.clientQuotas) }

// ClientQuotaRecord sets one quota of an entity, or takes it back.
type ClientQuotaRecord struct {
	Entity QuotaEntity
	Key    string
	Value  *float64 // nil takes the quota back
}

func (*ClientQuotaRecord) kind() kind { return kindClientQuota }

func (r *ClientQuotaRecord) encode(w *writer) {
	for _, n := range []QuotaName{r.Entity.User, r.Entity.ClientID, r.Entity.IP} {
		w.uint(uint64(n.Kind))
		if n.Kind == QuotaNamed {
			w.string(n.Name)
		}
	}
	w.string(r.Key)
	w.bool(r.Value != nil)
	if r.Value != nil {
		w.uint(math.Float64bits(*r.Value))
	}
}

func (r *ClientQuotaRecord) decode(rd *reader) {
	*r = ClientQuotaRecord{Entity: QuotaEntity{rd.quotaName(), rd.quotaName(), rd.quotaName()}, Key: rd.string()}
	if rd.bool() {
		v := math.Float64frombits(rd.Uint())
		if math.IsNaN(v) { // equal images must have equal quotas
			rd.Fail("a quota that is not a number")
		}
		r.Value = &v
	}
}

func (r *reader) quotaName() QuotaName {
	n := QuotaName{Kind: QuotaKind(min(r.Uint(), math.MaxUint8))}
	switch n.Kind {
	case QuotaAbsent, QuotaDefault:
	case QuotaNamed:
		n.Name = r.string()
	default:
		r.Fail("a name of kind %d in a quota's entity", n.Kind)
	}
	return n
}

func (r *ClientQuotaRecord) apply(d *delta) error {
	if r.Entity == (QuotaEntity{}) {
		return fmt.Errorf("quota %s of nobody", r.Key)
	}
	q := d.quota(r.Entity)
	if r.Value == nil {
		delete(q, r.Key)
	} else {
		q[r.Key] = *r.Value
	}
	return nil
}
