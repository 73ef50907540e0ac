package config

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
)

// groupBounds are the settings of the broker that bound those of groups. An empty name is no bound.
var groupBounds = map[string][2]string{
	"consumer.session.timeout.ms":      {"group.consumer.min.session.timeout.ms", "group.consumer.max.session.timeout.ms"},
	"consumer.heartbeat.interval.ms":   {"group.consumer.min.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"},
	"consumer.assignment.interval.ms":  {"group.consumer.min.assignment.interval.ms", "group.consumer.max.assignment.interval.ms"},
	"share.session.timeout.ms":         {"group.share.min.session.timeout.ms", "group.share.max.session.timeout.ms"},
	"share.heartbeat.interval.ms":      {"group.share.min.heartbeat.interval.ms", "group.share.max.heartbeat.interval.ms"},
	"share.assignment.interval.ms":     {"group.share.min.assignment.interval.ms", "group.share.max.assignment.interval.ms"},
	"share.record.lock.duration.ms":    {"group.share.min.record.lock.duration.ms", "group.share.max.record.lock.duration.ms"},
	"share.delivery.count.limit":       {"group.share.min.delivery.count.limit", "group.share.max.delivery.count.limit"},
	"share.partition.max.record.locks": {"group.share.min.partition.max.record.locks", "group.share.max.partition.max.record.locks"},
	"streams.session.timeout.ms":       {"group.streams.min.session.timeout.ms", "group.streams.max.session.timeout.ms"},
	"streams.heartbeat.interval.ms":    {"group.streams.min.heartbeat.interval.ms", "group.streams.max.heartbeat.interval.ms"},
	"streams.assignment.interval.ms":   {"group.streams.min.assignment.interval.ms", "group.streams.max.assignment.interval.ms"},
	"streams.num.standby.replicas":     {"", "group.streams.max.standby.replicas"},
}

// AlterGroup is AlterTopic for the settings of a group.
func (s *Store) AlterGroup(now map[string]string, alterations []Alteration) (Changes, error) {
	st := s.state.Load()
	changes := Changes{}
	for _, a := range alterations {
		if err := changes.add(GroupKeys.Key(a.Name), a, now, func() string { return "" }); err != nil {
			return nil, err
		}
	}
	after := changes.applied(now)
	for _, name := range slices.Sorted(maps.Keys(after)) {
		k := GroupKeys.Key(name)
		if k == nil {
			return nil, refusal(kerr.InvalidConfig, "there is no group setting %s", name)
		}
		if err := k.checkAltered(after[name]); err != nil {
			return nil, refusal(kerr.InvalidConfig, "%v", err)
		}
		if bounds, ok := groupBounds[name]; ok {
			if err := st.checkBounds(name, value(strings.TrimSpace(after[name])).int64(), bounds); err != nil {
				return nil, err
			}
		}
	}
	return changes, nil
}

func (l *layers) checkBounds(name string, v int64, bounds [2]string) error {
	if low := bounds[0]; low != "" {
		if n := value(l.lookup(low)).int64(); v < n {
			return refusal(kerr.InvalidConfig, "%s: %d is less than %s of the brokers, which is %d", name, v, low, n)
		}
	}
	if high := bounds[1]; high != "" {
		if n := value(l.lookup(high)).int64(); v > n {
			return refusal(kerr.InvalidConfig, "%s: %d is more than %s of the brokers, which is %d", name, v, high, n)
		}
	}
	return nil
}

// The interval of a client-metrics subscription in milliseconds.
const minPush, maxPush = 100, 3_600_000

// clientSelectors are what a client-metrics subscription can match clients by (rule 7.13).
var clientSelectors = []string{
	"client_instance_id", "client_id", "client_software_name", "client_software_version", "client_source_address",
	"client_source_port",
}

// AlterClientMetrics is AlterTopic for a client-metrics subscription. Unknown keys and intervals out of range wrap
// INVALID_REQUEST here, as in Kafka.
func (s *Store) AlterClientMetrics(now map[string]string, alterations []Alteration) (Changes, error) {
	changes := Changes{}
	for _, a := range alterations {
		// Kafka refuses to append to these lists: nil stands for what is no list.
		if err := changes.add(nil, a, now, nil); err != nil {
			return nil, err
		}
	}
	after := changes.applied(now)
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if err := checkClientMetric(name, after[name]); err != nil {
			return nil, err
		}
	}
	return changes, nil
}

func checkClientMetric(name, raw string) error {
	k := ClientMetricsKeys.Key(name)
	if k == nil {
		return refusal(kerr.InvalidRequest, "there is no client-metrics setting %s", name)
	}
	if err := k.checkAltered(raw); err != nil {
		return refusal(kerr.InvalidConfig, "%v", err)
	}
	switch name {
	case "interval.ms":
		if v := value(strings.TrimSpace(raw)).int64(); v < minPush || v > maxPush {
			return refusal(kerr.InvalidRequest, "interval.ms: %d is out of range; allowed: %d to %d", v, minPush, maxPush)
		}
	case "match":
		for _, e := range splitList(raw) {
			selector, pattern, ok := strings.Cut(e, "=")
			_, err := regexp.Compile(pattern)
			if !ok || err != nil || !slices.Contains(clientSelectors, strings.TrimSpace(selector)) {
				return refusal(kerr.InvalidConfig, "match: %q is not SELECTOR=REGULAR-EXPRESSION; the selectors are %s",
					e, strings.Join(clientSelectors, ", "))
			}
		}
	}
	return nil
}
