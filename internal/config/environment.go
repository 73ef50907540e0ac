package config

import (
	"regexp"
	"slices"
	"strings"
)

// notSettings are variables that are no settings: those of Kafka's images that steer the JVM or the start script, and
// those of kbroker's own commands and tests.
var notSettings = []string{
	"KAFKA_VERSION", "KAFKA_HEAP_OPTS", "KAFKA_LOG4J_OPTS", "KAFKA_OPTS", "KAFKA_JMX_OPTS", "KAFKA_JVM_PERFORMANCE_OPTS",
	"KAFKA_GC_LOG_OPTS", "KAFKA_LOG4J_ROOT_LOGLEVEL", "KAFKA_LOG4J_LOGGERS", "KAFKA_TOOLS_LOG4J_LOGLEVEL",
	"KAFKA_JMX_HOSTNAME", "KBROKER_BOOTSTRAP", "KBROKER_BINARY",
}

// variable is one setting from the environment.
type variable struct {
	name  string // of the variable
	key   string
	value string
}

// environment finds the settings in environ, which is as os.Environ returns it: KAFKA_X as Apache's image maps it,
// KAFKA_CFG_X as Bitnami's did, KBROKER_X for kbroker.x, and CLUSTER_ID. What a neighbour put there is not taken, and
// said in warnings.
func environment(environ []string) (found []variable, warnings []string) {
	for _, pair := range slices.Sorted(slices.Values(environ)) {
		name, value, _ := strings.Cut(pair, "=")
		key := variableKey(name)
		switch {
		case key == "":
		case injectedByKubernetes(name, value):
			warnings = append(warnings, name+"="+value+" is not taken as a setting: it looks like what Kubernetes injects "+
				"for a Service; set enableServiceLinks: false in the pod, or unset it")
		default:
			found = append(found, variable{name, key, value})
		}
	}
	return withDefaultListeners(found), warnings
}

// variableKey returns the key that a variable sets, or "" for one that sets none.
func variableKey(name string) string {
	if name == "CLUSTER_ID" {
		return "kbroker.cluster.id"
	}
	if slices.Contains(notSettings, name) {
		return ""
	}
	for _, prefix := range []string{"KAFKA_CFG_", "KAFKA_", "KBROKER_"} {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok || rest == "" {
			continue
		}
		if prefix == "KBROKER_" {
			return "kbroker." + dotted(rest)
		}
		return dotted(rest)
	}
	return ""
}

// dotted is the rule of Apache's image: ___ is a dash, __ an underscore, _ a dot.
func dotted(name string) string {
	return strings.NewReplacer("___", "-", "__", "_", "_", ".").Replace(strings.ToLower(name))
}

var serviceVariable = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// injectedByKubernetes recognises the variables that every pod gets for a Service called kafka or kafka-…, such as
// KAFKA_PORT=tcp://10.0.0.1:9092 (trap T11). No setting of Kafka has such a name.
func injectedByKubernetes(name, value string) bool {
	return strings.HasPrefix(value, "tcp://") || strings.HasPrefix(value, "udp://") || serviceVariable.MatchString(name)
}

var advertisedHost = regexp.MustCompile(`://(\[[^\]]*\]|[^:,\[]*):`)

// withDefaultListeners sets listeners from advertised.listeners on all addresses when only that is given, as Apache's
// image does: who names only what clients are told expects to be reachable there.
func withDefaultListeners(found []variable) []variable {
	i := slices.IndexFunc(found, func(v variable) bool { return v.key == "advertised.listeners" })
	if i < 0 || slices.ContainsFunc(found, func(v variable) bool { return v.key == "listeners" }) {
		return found
	}
	from := found[i]
	return append(found, variable{from.name, "listeners", advertisedHost.ReplaceAllString(from.value, "://0.0.0.0:")})
}
