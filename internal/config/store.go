package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// Source says where a value comes from, numbered as DescribeConfigs does (rule 7.7.2).
type Source int8

// The sources.
const (
	DynamicTopic         Source = 1
	DynamicBroker        Source = 2
	DynamicDefaultBroker Source = 3
	StaticBroker         Source = 4
	Default              Source = 5
	DynamicBrokerLogger  Source = 6
	ClientMetrics        Source = 7
	Group                Source = 8
)

// Store is the settings of one broker: the static ones, which never change, under the dynamic ones of the cluster's
// metadata. Its methods may be called concurrently; Update by one goroutine at a time.
type Store struct {
	settings *Settings
	static   map[string]string
	state    atomic.Pointer[state]
}

// state is everything at one moment. It is replaced whole, and never changed.
type state struct {
	layers
	view *Broker
}

// layers are the values of the broker's settings as they were written, by where they come from.
type layers struct {
	broker  map[string]string // of this broker
	cluster map[string]string // of all brokers
	static  map[string]string
}

// problemError says what is wrong with one key.
type problemError struct {
	key string
	err error
}

func (e *problemError) Error() string { return e.key + ": " + e.err.Error() }
func (e *problemError) Unwrap() error { return e.err }

func problem(key, format string, args ...any) error {
	return &problemError{key, fmt.Errorf(format, args...)}
}

// NewStore checks what several settings say together. Its errors name the key and where it was set.
func NewStore(settings *Settings) (*Store, error) {
	s := &Store{settings: settings, static: map[string]string{}}
	for _, x := range settings.All() {
		s.static[x.Name] = x.Value
	}
	if err := unifyNodeID(s.static); err != nil {
		return nil, settings.locate(err)
	}
	l := layers{static: s.static}
	if err := l.checkRoles(); err != nil { // first: what a controller alone lacks is beside the point
		return nil, settings.locate(err)
	}
	view, err := l.view()
	if err == nil {
		err = l.checkSingleNode(view)
	}
	if err != nil {
		return nil, settings.locate(err)
	}
	s.state.Store(&state{l, view})
	return s, nil
}

// locate says where the key of a problem was set.
func (s *Settings) locate(err error) error {
	var p *problemError
	if errors.As(err, &p) {
		if x, ok := s.byName[p.key]; ok {
			return &SettingError{Setting: x, Err: err}
		}
	}
	return err
}

// unifyNodeID makes node.id and its older name say the same.
func unifyNodeID(static map[string]string) error {
	node, hasNode := static["node.id"]
	broker, hasBroker := static["broker.id"]
	switch {
	case hasNode && hasBroker && broker != "-1" && strings.TrimSpace(node) != strings.TrimSpace(broker):
		return problem("broker.id", "is %s and node.id is %s; they are two names of one number, so leave one out", broker, node)
	case hasNode:
		static["broker.id"] = node
	case hasBroker:
		static["node.id"] = broker
	}
	return nil
}

// Settings returns the static settings.
func (s *Store) Settings() *Settings { return s.settings }

// Broker returns the present view of the broker's settings. It must not be changed.
func (s *Store) Broker() *Broker { return s.state.Load().view }

// Update takes the dynamic settings of this broker and those of all brokers, and returns the keys whose effective value
// is another one now. A value that this broker cannot use is left out, and reported: it was checked by another broker.
func (s *Store) Update(broker, cluster map[string]string) (changed []string, err error) {
	old := s.state.Load()
	next := layers{broker: maps.Clone(broker), cluster: maps.Clone(cluster), static: s.static}
	var all []error
	for _, layer := range []map[string]string{next.broker, next.cluster} {
		for name, raw := range layer {
			if k, _ := brokerKey(name); k != nil {
				if _, err := k.Parse(raw); err != nil {
					delete(layer, name)
					all = append(all, fmt.Errorf("dynamic setting left out: %w", err))
				}
			}
		}
	}
	view, err := next.view()
	if err != nil {
		return nil, errors.Join(append(all, fmt.Errorf("dynamic settings left out: %w", err))...)
	}
	s.state.Store(&state{next, view})
	for _, k := range BrokerKeys.Keys {
		if before, after := old.effective(&k), next.effective(&k); before != after {
			changed = append(changed, k.Name)
		}
	}
	return changed, errors.Join(all...)
}

// Topic returns the effective settings of a topic with the given overrides, whose values have been checked.
func (s *Store) Topic(overrides map[string]string) Topic {
	return s.state.Load().view.Topic.with(overrides)
}

// with puts overrides over t. What cannot be used is left as it is.
func (t Topic) with(overrides map[string]string) Topic {
	for name, raw := range overrides {
		set, k := topicSetters[name], TopicKeys.Key(name)
		if set == nil || k == nil {
			continue
		}
		if shown, err := k.Parse(raw); err == nil {
			set(&t, value(shown))
		}
	}
	if raw, ok := overrides[internalSegmentBytes]; ok {
		if n, err := strconv.ParseInt(strings.TrimSpace(raw), 10, 32); err == nil {
			t.SegmentBytes = int32(n)
		}
	}
	return t
}

// find returns the value of name as it was written, from the strongest layer that has it.
func (l *layers) find(name string) (raw string, from Source, ok bool) {
	if raw, ok = l.broker[name]; ok {
		return raw, DynamicBroker, true
	}
	if raw, ok = l.cluster[name]; ok {
		return raw, DynamicDefaultBroker, true
	}
	raw, ok = l.static[name]
	return raw, StaticBroker, ok
}

// optional is a value or null.
type optional struct {
	value string
	ok    bool
}

// effective returns the value of k as it is shown: that of the strongest layer, else its default.
func (l *layers) effective(k *Key) optional {
	raw, _, ok := l.find(k.Name)
	if !ok {
		if k.Null {
			return optional{}
		}
		raw = k.Default
	}
	shown, err := k.canonical(raw)
	return optional{shown, err == nil}
}

// lookup is effective by name, "" for null.
func (l *layers) lookup(name string) string { return l.effective(BrokerKeys.Key(name)).value }

// inherited returns what a topic without its own value of k has: the first of the broker's synonyms that has a value,
// brought to the unit of k, else the default.
func (l *layers) inherited(k *Key) optional {
	for _, syn := range k.Synonyms {
		if v := l.effective(BrokerKeys.Key(syn.Name)); v.ok {
			return optional{scaled(v.value, syn.Scale), true}
		}
	}
	if k.Null {
		return optional{}
	}
	shown, err := k.canonical(k.Default)
	return optional{shown, err == nil}
}

// scaled multiplies a whole number. Negative ones mean "no limit" and stay.
func scaled(number string, scale int64) string {
	n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
	if scale == 1 || err != nil || n < 0 {
		return number
	}
	return strconv.FormatInt(n*scale, 10) // hours are 32 bits wide: no overflow
}

// view computes what the broker acts upon.
func (l *layers) view() (*Broker, error) {
	b := &Broker{}
	if _, err := parseOverrides(l.lookup("max.connections.per.ip.overrides")); err != nil {
		return nil, err
	}
	for name, set := range brokerSetters {
		if v := l.effective(BrokerKeys.Key(name)); v.ok {
			set(b, value(v.value))
		}
	}
	for i := range TopicKeys.Keys {
		k := &TopicKeys.Keys[i]
		if set, v := topicSetters[k.Name], l.inherited(k); set != nil && v.ok {
			set(&b.Topic, value(v.value))
		}
	}
	if len(b.LogDirs) == 0 {
		b.LogDirs = splitList(l.lookup("log.dir"))
	}
	_, _, interBrokerProtocol := l.find("security.inter.broker.protocol")
	listeners := listenerSettings{
		listeners: l.lookup("listeners"), advertised: l.lookup("advertised.listeners"),
		protocols: l.lookup("listener.security.protocol.map"), controllers: splitList(l.lookup("controller.listener.names")),
		interBroker: l.lookup("inter.broker.listener.name"),
	}
	if interBrokerProtocol {
		listeners.interBrokerProtocol = l.lookup("security.inter.broker.protocol")
	}
	if err := listeners.fill(b); err != nil {
		return nil, err
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	return b, l.checkLimits(b)
}

// check finds values that their type and rule cannot.
func (b *Broker) check() error {
	for _, address := range b.HTTP {
		if _, port, err := net.SplitHostPort(address); err != nil || !isPort(port) {
			return problem("kbroker.http.listeners", "%q is not HOST:PORT, such as 127.0.0.1:8080", address)
		}
	}
	if id, err := base64.RawURLEncoding.DecodeString(b.ClusterID); err != nil || len(id) != 16 && b.ClusterID != "" {
		return problem("kbroker.cluster.id", "%q is not an id; it has 22 characters of URL-safe base64", b.ClusterID)
	}
	if len(b.LogDirs) == 0 || slices.Contains(b.LogDirs, "") {
		return problem("log.dirs", "name at least one directory")
	}
	for i, dir := range b.LogDirs {
		if slices.Contains(b.LogDirs[:i], dir) {
			return problem("log.dirs", "%s is there twice", dir)
		}
	}
	return b.Groups.check()
}

func isPort(text string) bool { _, err := strconv.ParseUint(text, 10, 16); return err == nil }

// checkRoles accepts a node that is both broker and controller.
func (l *layers) checkRoles() error {
	raw, _, ok := l.find("process.roles")
	roles := splitList(raw)
	if ok && (!slices.Contains(roles, "broker") || !slices.Contains(roles, "controller")) {
		return problem("process.roles", "%s: this release runs single nodes, which are both; write broker,controller", raw)
	}
	return nil
}

// checkSingleNode accepts the settings of a Kafka node that is alone, and refuses those of a larger cluster.
func (l *layers) checkSingleNode(b *Broker) error {
	voters := splitList(l.lookup("controller.quorum.voters"))
	if len(voters) > 1 {
		return problem("controller.quorum.voters", "names %d voters: this release runs single nodes; name this node only, or leave it out", len(voters))
	}
	for _, voter := range voters {
		id, _, ok := strings.Cut(voter, "@")
		if n, err := strconv.ParseInt(id, 10, 32); !ok || err != nil || int32(n) != b.NodeID {
			return problem("controller.quorum.voters", "%q is not %d@HOST:PORT, this node's own entry", voter, b.NodeID)
		}
	}
	return l.checkBootstrapServers(b)
}

// checkBootstrapServers accepts the one server that the file of Kafka's quick start names: the node's own controller
// listener. Any other is a cluster to join, and a node that kept to itself instead would split its clients from it.
func (l *layers) checkBootstrapServers(b *Broker) error {
	const key = "controller.quorum.bootstrap.servers"
	servers := splitList(l.lookup(key))
	if len(servers) > 1 {
		return problem(key, "names %d servers: this release runs single nodes; name this node only, or leave it out", len(servers))
	}
	for _, server := range servers {
		_, port, err := net.SplitHostPort(server)
		own := slices.ContainsFunc(b.Controllers, func(c Listener) bool { return strconv.Itoa(int(c.Port)) == port })
		if err != nil || !own {
			return problem(key, "%q is not the HOST:PORT of a controller listener of this node; this release runs single nodes: leave it out", server)
		}
	}
	return nil
}
