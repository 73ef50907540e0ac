package config

import (
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// endpoint is NAME://HOST:PORT. An IPv6 address may stand in brackets or without, as in Kafka: the port is what follows
// the last colon.
var endpoint = regexp.MustCompile(`^([^:/]+)://\[?([0-9a-zA-Z\-%._:]*?)\]?:([^:]*)$`)

// parseEndpoints reads NAME://HOST:PORT elements. Names are upper case wherever they appear, as Kafka compares them.
func parseEndpoints(list string) ([]Endpoint, error) {
	var all []Endpoint
	for _, text := range splitList(list) {
		m := endpoint.FindStringSubmatch(text)
		if m == nil {
			return nil, fmt.Errorf("%q is not NAME://HOST:PORT, such as PLAINTEXT://localhost:9092", text)
		}
		name, host, port := m[1], m[2], m[3]
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("%q has the port %q; allowed: 0 to 65535", text, port)
		}
		all = append(all, Endpoint{strings.ToUpper(name), host, int32(n)})
	}
	return all, nil
}

// parseOverrides reads ADDRESS:NUMBER elements of max.connections.per.ip.overrides. Addresses are compared with those of
// peers: names are not looked up, since a start must not wait for a name server.
func parseOverrides(list string) (map[string]int, error) {
	overrides := map[string]int{}
	for _, text := range splitList(list) {
		i := strings.LastIndex(text, ":")
		n, err := strconv.ParseInt(text[i+1:], 10, 32)
		if i <= 0 || err != nil || n < 0 {
			return nil, problem("max.connections.per.ip.overrides", "%q is not ADDRESS:NUMBER", text)
		}
		overrides[strings.Trim(text[:i], "[]")] = int(n)
	}
	return overrides, nil
}

// listenerSettings are the settings that make up the listeners; they are read together.
type listenerSettings struct {
	listeners, advertised, protocols string
	controllers                      []string // controller.listener.names
	interBroker, interBrokerProtocol string   // empty: not set
}

// fill reads the listeners into b.
func (s listenerSettings) fill(b *Broker) error {
	protocols, err := s.protocolMap()
	if err != nil {
		return err
	}
	all, err := parseEndpoints(s.listeners)
	if err != nil {
		return problem("listeners", "%w", err)
	}
	if err := clashes(all); err != nil {
		return problem("listeners", "%w", err)
	}
	for _, e := range all {
		isController := s.isController(e.Name)
		p, ok := protocols[e.Name]
		if !ok && !isController {
			return problem("listeners", "nothing says what %s speaks; add %s:PLAINTEXT to listener.security.protocol.map", e.Name, e.Name)
		}
		l := Listener{e.Name, e.Host, e.Port, p}
		if isController {
			b.Controllers = append(b.Controllers, l)
			continue
		}
		if p != Plaintext {
			return problem("listeners", "%s speaks %s, and this release has only PLAINTEXT; change it in listener.security.protocol.map", e.Name, p)
		}
		b.Listeners = append(b.Listeners, l)
	}
	if len(b.Listeners) == 0 {
		return problem("listeners", "%q has no listener for clients; add one such as PLAINTEXT://:9092", s.listeners)
	}
	if err := s.fillInterBroker(b); err != nil {
		return err
	}
	return s.fillAdvertised(b)
}

func (s listenerSettings) isController(name string) bool {
	return slices.ContainsFunc(s.controllers, func(c string) bool { return strings.EqualFold(c, name) })
}

// protocolMap reads listener.security.protocol.map. Its default names each protocol after itself.
func (s listenerSettings) protocolMap() (map[string]Protocol, error) {
	byName := map[string]Protocol{}
	for _, p := range []Protocol{Plaintext, SSL, SASLPlaintext, SASLSSL} {
		byName[p.String()] = p
	}
	protocols := map[string]Protocol{}
	for _, text := range splitList(s.protocols) {
		name, protocol, ok := strings.Cut(text, ":")
		p, known := byName[strings.ToUpper(strings.TrimSpace(protocol))]
		if !ok || !known {
			return nil, problem("listener.security.protocol.map", "%q is not NAME:PROTOCOL; the protocols are %s",
				text, strings.Join(slices.Sorted(maps.Keys(byName)), ", "))
		}
		name = strings.ToUpper(strings.TrimSpace(name))
		if _, twice := protocols[name]; twice {
			return nil, problem("listener.security.protocol.map", "%s is there twice", name)
		}
		protocols[name] = p
	}
	return protocols, nil
}

// clashes finds names and ports that are used twice. A port may serve one IPv4 and one IPv6 address.
func clashes(all []Endpoint) error {
	names, ports := map[string]bool{}, map[int32]Endpoint{}
	for _, e := range all {
		if names[e.Name] {
			return fmt.Errorf("%s is there twice; give each listener its own name", e.Name)
		}
		names[e.Name] = true
		other, taken := ports[e.Port]
		if taken && e.Port != 0 && !oneOfEachFamily(e.Host, other.Host) {
			return fmt.Errorf("%s and %s have the same port %d", other.Name, e.Name, e.Port)
		}
		ports[e.Port] = e
	}
	return nil
}

func oneOfEachFamily(a, b string) bool {
	x, y := net.ParseIP(a), net.ParseIP(b)
	return x != nil && y != nil && (x.To4() == nil) != (y.To4() == nil)
}

func (s listenerSettings) fillInterBroker(b *Broker) error {
	find := func(match func(Listener) bool) int { return slices.IndexFunc(b.Listeners, match) }
	switch {
	case s.interBroker != "" && s.interBrokerProtocol != "":
		return problem("inter.broker.listener.name", "is set, and so is security.inter.broker.protocol; leave one of them out")
	case s.interBroker != "":
		b.InterBroker = strings.ToUpper(s.interBroker)
		if find(func(l Listener) bool { return l.Name == b.InterBroker }) < 0 {
			return problem("inter.broker.listener.name", "%s is not one of the listeners for clients in %q", b.InterBroker, s.listeners)
		}
	case s.interBrokerProtocol != "":
		i := find(func(l Listener) bool { return l.Protocol.String() == s.interBrokerProtocol })
		if i < 0 {
			return problem("security.inter.broker.protocol", "no listener in %q speaks %s", s.listeners, s.interBrokerProtocol)
		}
		b.InterBroker = b.Listeners[i].Name
	default:
		b.InterBroker = b.Listeners[0].Name
	}
	return nil
}

// fillAdvertised reads advertised.listeners. Hosts are not looked up: a name may be known to clients only (trap T6).
func (s listenerSettings) fillAdvertised(b *Broker) error {
	advertised, err := parseEndpoints(s.advertised)
	if err != nil {
		return problem("advertised.listeners", "%w", err)
	}
	for _, e := range advertised {
		switch {
		case e.Host == "0.0.0.0" || e.Host == "::":
			return problem("advertised.listeners", "%s://%s:%d is no address that a client can reach; name this machine as clients see it", e.Name, e.Host, e.Port)
		case s.isController(e.Name):
			continue // Kafka lets a node advertise its controller listener; nobody asks a single node for it
		case !slices.ContainsFunc(b.Listeners, func(l Listener) bool { return l.Name == e.Name }):
			return problem("advertised.listeners", "%s is not one of the listeners in %q", e.Name, s.listeners)
		case slices.ContainsFunc(b.Advertised, func(a Endpoint) bool { return a.Name == e.Name }):
			return problem("advertised.listeners", "%s is there twice", e.Name)
		}
		b.Advertised = append(b.Advertised, e)
	}
	return nil
}
