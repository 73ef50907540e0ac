package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Op is what IncrementalAlterConfigs does to one key, numbered as there (rule 7.7.6).
type Op int8

// The operations.
const (
	Set      Op = 0
	Delete   Op = 1
	Append   Op = 2
	Subtract Op = 3
)

func (op Op) String() string {
	switch op {
	case Set:
		return "SET"
	case Delete:
		return "DELETE"
	case Append:
		return "APPEND"
	case Subtract:
		return "SUBTRACT"
	}
	return "operation " + strconv.Itoa(int(op))
}

// Alteration is one operation on one key. Value is not used by Delete.
type Alteration struct {
	Name  string
	Op    Op
	Value *string
}

// Changes are the overrides of a resource to set, and to take away where the value is nil.
type Changes map[string]*string

// refusal wraps one of Kafka's errors with what is wrong, and what to do where that is not plain.
func refusal(kafka *kerr.Error, format string, args ...any) error {
	return &refusedError{fmt.Sprintf(format, args...), kafka}
}

// refusedError is one of Kafka's errors with a message for the one who asked.
type refusedError struct {
	message string
	kafka   *kerr.Error
}

func (e *refusedError) Error() string { return e.message }
func (e *refusedError) Unwrap() error { return e.kafka }

// CheckAlterations applies what holds for every kind of resource, before it is known whether it exists: no key twice,
// and no operation without its value.
func CheckAlterations(alterations []Alteration) error {
	seen := map[string]bool{}
	for _, a := range alterations {
		switch {
		case seen[a.Name]:
			return refusal(kerr.InvalidRequest, "%s is there twice; alter each key once", a.Name)
		case a.Op < Set || a.Op > Subtract:
			return refusal(kerr.InvalidRequest, "%s: there is no %s", a.Name, a.Op)
		case a.Op != Delete && a.Value == nil:
			return refusal(kerr.InvalidRequest, "%s: %s needs a value; DELETE takes it back to its default", a.Name, a.Op)
		}
		seen[a.Name] = true
	}
	return nil
}

// Replace turns a complete set of overrides, as AlterConfigs sends it, into alterations of what is set now (rule 7.7.7).
func Replace(now map[string]string, wanted []Alteration) []Alteration {
	all := slices.Clone(wanted)
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if !slices.ContainsFunc(wanted, func(a Alteration) bool { return a.Name == name }) {
			all = append(all, Alteration{Name: name, Op: Delete})
		}
	}
	return all
}

// AlterTopic checks alterations of a topic whose overrides are now, and returns the changes. Errors wrap
// INVALID_CONFIG: nothing of the resource is changed then.
func (s *Store) AlterTopic(now map[string]string, alterations []Alteration) (Changes, error) {
	st := s.state.Load()
	changes := Changes{}
	for _, a := range alterations {
		k := TopicKeys.Key(a.Name)
		inherited := func() string { return st.inherited(k).value }
		if err := changes.add(k, a, now, inherited); err != nil {
			return nil, err
		}
	}
	return changes, s.CheckTopic(changes.applied(now))
}

// CheckTopic checks a complete set of overrides of a topic, as at its creation. Errors wrap INVALID_CONFIG.
func (s *Store) CheckTopic(overrides map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(overrides)) {
		k := TopicKeys.Key(name)
		if k == nil {
			return refusal(kerr.InvalidConfig, "there is no topic setting %s", name)
		}
		if err := k.checkAltered(overrides[name]); err != nil {
			return refusal(kerr.InvalidConfig, "%v", err)
		}
	}
	t := s.Topic(overrides)
	if t.MinCompactionLagMillis > t.MaxCompactionLagMillis {
		return refusal(kerr.InvalidConfig, "min.compaction.lag.ms is %d, more than max.compaction.lag.ms, which is %d",
			t.MinCompactionLagMillis, t.MaxCompactionLagMillis)
	}
	return nil
}

// checkAltered is Parse, and refuses what kbroker cannot do.
func (k *Key) checkAltered(raw string) error {
	shown, err := k.Parse(raw)
	if err != nil {
		return err
	}
	if k.refuses(shown) {
		return fmt.Errorf("%s=%s: %s", k.Name, raw, k.Note)
	}
	return nil
}

// add applies one alteration. k is nil for a key that nobody knows; inherited is asked for the value that a list is
// appended to where there is no override.
func (c Changes) add(k *Key, a Alteration, now map[string]string, inherited func() string) error {
	current, overridden := now[a.Name]
	switch a.Op {
	case Delete:
		// A key that is not set, or that nobody knows, is deleted already: tools delete everything they do not set.
		if overridden {
			c[a.Name] = nil
		}
		return nil
	case Set:
		c[a.Name] = a.Value
		return nil
	}
	if k == nil || k.Type != List {
		return refusal(kerr.InvalidConfig, "%s is no list: %s is not possible", a.Name, a.Op)
	}
	if !overridden {
		current = inherited()
	}
	list := slices.DeleteFunc(strings.Split(current, ","), func(e string) bool { return e == "" })
	for _, e := range operands(*a.Value) {
		switch at := slices.Index(list, e); {
		case a.Op == Append && at < 0:
			list = append(list, e)
		case a.Op == Subtract && at >= 0:
			list = slices.Delete(list, at, at+1)
		}
	}
	joined := strings.Join(list, ",")
	c[a.Name] = &joined
	return nil
}

// operands are the elements that APPEND adds and SUBTRACT takes out, split as Kafka does it: spaces belong to an element,
// and what trailing commas stand for is dropped. Nothing at all is one empty element, which few lists take.
func operands(value string) []string {
	if value == "" {
		return []string{""}
	}
	value = strings.TrimRight(value, ",")
	if value == "" {
		return nil
	}
	return strings.Split(value, ",")
}

// applied returns the overrides after the changes.
func (c Changes) applied(now map[string]string) map[string]string {
	after := maps.Clone(now)
	if after == nil {
		after = map[string]string{}
	}
	for name, v := range c {
		if v == nil {
			delete(after, name)
		} else {
			after[name] = *v
		}
	}
	return after
}
