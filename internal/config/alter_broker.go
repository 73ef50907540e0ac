package config

import (
	"math"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
)

// maxThreadFactor bounds by how much a number of threads may grow or shrink at once, as Kafka has it.
const maxThreadFactor = 2

// threadCounts are the settings that it bounds.
var threadCounts = []string{
	"background.threads", "num.io.threads", "num.network.threads", "num.recovery.threads.per.data.dir",
	"num.replica.fetchers", "log.cleaner.threads",
}

// connectionCounts are the settings that a file may set to 0, and a running broker may not be given.
var connectionCounts = []string{"max.connections", "max.connection.creation.rate"}

// AlterBroker checks alterations of this broker's own settings, or of the defaults of all brokers, whose overrides are
// now. What a value or a key is wrong for wraps INVALID_REQUEST, unlike on topics (seen on Kafka 4.3.1).
func (s *Store) AlterBroker(clusterDefault bool, now map[string]string, alterations []Alteration) (Changes, error) {
	st := s.state.Load()
	changes := Changes{}
	for _, a := range alterations {
		k, _ := brokerKey(a.Name)
		inherited := func() string { return st.effective(k).value }
		if err := changes.add(k, a, now, inherited); err != nil {
			return nil, err
		}
		if v := changes[a.Name]; v != nil {
			if err := st.checkDynamic(a.Name, *v, clusterDefault); err != nil {
				return nil, err
			}
		}
	}
	next := st.layers
	if clusterDefault {
		next.cluster = changes.applied(now)
	} else {
		next.broker = changes.applied(now)
	}
	if _, err := next.view(); err != nil {
		return nil, refusal(kerr.InvalidRequest, "%v", err)
	}
	return changes, nil
}

// checkDynamic checks one value for one broker or for all.
func (st *state) checkDynamic(name, raw string, clusterDefault bool) error {
	k, scoped := brokerKey(name)
	switch {
	case k == nil && strings.HasPrefix(name, "kbroker."):
		return refusal(kerr.InvalidConfig, "there is no setting %s", name)
	case k == nil:
		return nil // Kafka keeps what it does not know, for plug-ins
	case k.Update == ReadOnly:
		return refusal(kerr.InvalidRequest, "%s cannot change at run time; set it in server.properties and restart", name)
	case clusterDefault && k.Update == PerBroker:
		return refusal(kerr.InvalidRequest, "%s can only be set for one broker; name it", name)
	case !scoped && (strings.HasPrefix(name, "ssl.") || strings.HasPrefix(name, "sasl.")) && k.Update == PerBroker:
		return refusal(kerr.InvalidRequest, "%s can only be set for one listener; write listener.name.LISTENER.%s", name, name)
	}
	if err := k.checkAltered(raw); err != nil {
		return refusal(kerr.InvalidRequest, "%v", err)
	}
	return st.checkSpecial(name, value(strings.TrimSpace(raw)), clusterDefault)
}

// checkSpecial knows what the tables cannot say.
func (st *state) checkSpecial(name string, v value, clusterDefault bool) error {
	switch {
	case name == "listeners" || name == "listener.security.protocol.map":
		if now := st.lookup(name); now != string(v) {
			return refusal(kerr.InvalidRequest, "%s cannot change at run time in kbroker; set it in server.properties and restart", name)
		}
	case name == "metric.reporters":
		return refusal(kerr.InvalidRequest, "kbroker does not load Java classes; read metrics from /metrics")
	case slices.Contains(connectionCounts, name) && v.int64() == 0:
		return refusal(kerr.InvalidRequest, "%s: with 0 nobody could connect, to change it back neither", name)
	case slices.Contains(threadCounts, name):
		if _, own := st.broker[name]; clusterDefault && own {
			return nil // which goes on to hold
		}
		now := value(st.lookup(name)).int64()
		if n := v.int64(); n <= 0 || n > now*maxThreadFactor || float64(n) < math.Floor(float64(now)/maxThreadFactor) {
			return refusal(kerr.InvalidRequest, "%s: %d is more than twice or less than half of the present %d; change it in steps", name, n, now)
		}
	}
	return nil
}
