package config

import "strings"

// Type is the type of a setting, numbered as DescribeConfigs does (rule 7.7.4).
type Type int8

// The types. Unknown is that of a key that nobody defined.
const (
	Unknown  Type = 0
	Boolean  Type = 1
	String   Type = 2
	Int      Type = 3
	Short    Type = 4
	Long     Type = 5
	Double   Type = 6
	List     Type = 7
	JavaName Type = 8 // the name of a Java class
	Password Type = 9
)

func (t Type) String() string {
	names := [...]string{"unknown", "boolean", "string", "int", "short", "long", "double", "list", "class", "password"}
	return names[t]
}

// Update says how a setting of the broker may change at run time.
type Update uint8

// ReadOnly needs a restart; PerBroker can be set for one broker; ClusterWide for one or, as a default, for all.
const (
	ReadOnly Update = iota
	PerBroker
	ClusterWide
)

func (u Update) String() string { return [...]string{"read-only", "per-broker", "cluster-wide"}[u] }

// Importance is Kafka's judgement of how much a setting matters.
type Importance uint8

// The importances.
const (
	High Importance = iota
	Medium
	Low
)

func (i Importance) String() string { return [...]string{"high", "medium", "low"}[i] }

// Class says what kbroker does with a setting.
type Class uint8

const (
	// Works: kbroker acts upon it, as the test named in Key.Note shows.
	Works Class = iota
	// Ignored: it is accepted, kept and shown, and changes nothing. Key.Note says why. Said once at the start.
	Ignored
	// Refused: another value than the default would change what kbroker means to its users, so it does not start.
	// Key.Note says what to do instead.
	Refused
)

func (c Class) String() string { return [...]string{"works", "accepted without effect", "refused"}[c] }

// Key is one setting. The tables of keys are generated and never change.
type Key struct {
	Name       string
	Type       Type
	Default    string // as it is written in a file
	Null       bool   // there is no default: the value is null when nobody sets it
	Valid      rule   // what values are allowed besides those of Type; nil: all
	Importance Importance
	Update     Update
	Hidden     bool // not shown by DescribeConfigs unless it is set
	Dynamic    bool // can be set at run time only, never in a file
	// Synonyms are the settings of the broker that supply the value of a topic's or group's one, and of a broker's one
	// that has older names, in the order in which they are looked up.
	Synonyms []Synonym
	Class    Class
	Note     string   // of its class
	Allowed  []string // values of a Refused key that are accepted without effect
	Doc      string   // our own sentence, for keys that work
}

// doc is what DescribeConfigs says about the key.
func (k *Key) doc() string {
	if k.Class == Works {
		return k.Doc
	}
	return "Accepted without effect: " + k.Note + "."
}

// Synonym is a key whose value counts Scale times in the key that it is a synonym of (60000 for minutes in
// milliseconds).
type Synonym struct {
	Name  string
	Scale int64
}

// Sensitive reports whether the value must not be shown.
func (k *Key) Sensitive() bool { return k.Type == Password || k.Type == Unknown }

// Table is the keys of one kind of resource, in the order in which DescribeConfigs lists them (that of Kafka 4.3.1,
// ours after Kafka's).
type Table struct {
	Keys   []Key
	byName map[string]*Key
}

func newTable(keys []Key) *Table {
	t := &Table{Keys: keys, byName: make(map[string]*Key, len(keys))}
	for i := range keys {
		t.byName[keys[i].Name] = &keys[i]
	}
	return t
}

// Key returns the key called name, or nil.
func (t *Table) Key(name string) *Key { return t.byName[name] }

// The tables.
var (
	BrokerKeys        = newTable(brokerKeys)
	TopicKeys         = newTable(topicKeys)
	GroupKeys         = newTable(groupKeys)
	ClientMetricsKeys = newTable(clientMetricsKeys)
)

// listenerPrefix begins keys that hold for one listener: listener.name.NAME.KEY, NAME in lower case.
const listenerPrefix = "listener.name."

// brokerKey returns the key of the broker that name stands for, which for a key of one listener is that of all
// listeners, and whether name is for one listener. It returns nil for a name that nobody defined.
func brokerKey(name string) (k *Key, oneListener bool) {
	if k := BrokerKeys.Key(name); k != nil {
		return k, false
	}
	rest, ok := strings.CutPrefix(name, listenerPrefix)
	if !ok {
		return nil, false
	}
	_, base, ok := strings.Cut(rest, ".")
	if !ok {
		return nil, false
	}
	// The settings of one mechanism come as listener.name.NAME.MECHANISM.sasl.…
	if i := strings.Index(base, ".sasl."); i >= 0 {
		base = base[i+1:]
	}
	return BrokerKeys.Key(base), true
}
