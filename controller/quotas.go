package controller

import (
	"maps"
	"math"
	"net/netip"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/metadata"
)

// QuotaAlteration changes the quotas of one entity.
type QuotaAlteration struct {
	Entity metadata.QuotaEntity
	Set    map[string]*float64 // nil takes the quota back
}

// alterClientQuotas is AlterClientQuotas (rule 7.9.1): all quotas of an entity are altered, or none.
type alterClientQuotas = alterEach[QuotaAlteration]

// These have the keys of quotas, with the largest value of those that are whole numbers and anyNumber for the others. A
// rate of connections hangs on an address, everything else on users and clients.
var (
	clientQuotaKeys = map[string]float64{
		"producer_byte_rate": math.MaxInt64, "consumer_byte_rate": math.MaxInt64,
		"request_percentage": anyNumber, "controller_mutation_rate": anyNumber,
	}
	addressQuotaKeys = map[string]float64{"connection_creation_rate": math.MaxInt32}
)

// anyNumber stands for a quota that may have fractions, and has no largest value.
const anyNumber = 0

// wholeTolerance is how far from a whole number a value may be that must be one: quotas travel as floating-point numbers.
const wholeTolerance = 1e-6

func (a QuotaAlteration) settings() int { return len(a.Set) }

func (a QuotaAlteration) decide(d *decision) ([]metadata.Record, error) {
	keys, err := keysOf(a.Entity)
	if err != nil {
		return nil, err
	}
	now := d.head.ClientQuota(a.Entity)
	var records []metadata.Record
	for _, key := range slices.Sorted(maps.Keys(a.Set)) { // sorted: the same request gives the same records
		value := a.Set[key]
		old, was := now[key]
		if value == nil {
			if was {
				records = append(records, &metadata.ClientQuotaRecord{Entity: a.Entity, Key: key})
			}
			continue
		}
		if err := checkQuota(keys, key, *value); err != nil {
			return nil, err
		}
		if !was || old != *value {
			records = append(records, &metadata.ClientQuotaRecord{Entity: a.Entity, Key: key, Value: value})
		}
	}
	return records, nil
}

// keysOf checks an entity and returns the keys of the quotas that it may have.
func keysOf(e metadata.QuotaEntity) (map[string]float64, error) {
	for _, n := range []metadata.QuotaName{e.User, e.ClientID, e.IP} {
		if n.Kind == metadata.QuotaNamed && n.Name == "" {
			return nil, refuse(kerr.InvalidRequest, "the name of an entity is empty: leave it away for the default")
		}
	}
	switch {
	case e == metadata.QuotaEntity{}:
		return nil, refuse(kerr.InvalidRequest, "the entity is empty: it needs a user, a client-id or an ip")
	case e.IP.Kind == metadata.QuotaAbsent:
		return clientQuotaKeys, nil
	case e.User.Kind != metadata.QuotaAbsent || e.ClientID.Kind != metadata.QuotaAbsent:
		return nil, refuse(kerr.InvalidRequest, "quotas of an ip cannot be combined with those of a user or a client-id")
	}
	// Host names are refused, which Kafka resolves: a quota must not depend on what a name server says at the moment.
	if e.IP.Kind == metadata.QuotaNamed {
		if _, err := netip.ParseAddr(e.IP.Name); err != nil {
			return nil, refuse(kerr.InvalidRequest, "%q is not an IP address", e.IP.Name)
		}
	}
	return addressQuotaKeys, nil
}

// checkQuota checks one value.
func checkQuota(keys map[string]float64, key string, value float64) error {
	largest, known := keys[key]
	switch {
	case !known:
		return refuse(kerr.InvalidRequest, "there is no quota %q for such an entity", key)
	case !(value > 0) || math.IsInf(value, 0): // NaN is not above 0 either
		return refuse(kerr.InvalidRequest, "quota %s must be a number above 0", key)
	case largest == anyNumber:
		return nil
	case value > largest:
		return refuse(kerr.InvalidRequest, "quota %s cannot be more than %.0f", key, largest)
	case math.Abs(math.Round(value)-value) > wholeTolerance:
		return refuse(kerr.InvalidRequest, "quota %s must be a whole number", key)
	}
	return nil
}
