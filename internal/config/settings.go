package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Sources is where settings come from, the strongest last.
type Sources struct {
	// Defaults are kbroker's own where they differ from Kafka's, such as listeners on loopback.
	Defaults map[string]string
	// File is the name of a properties file; empty: none.
	File string
	// Environ is the environment as os.Environ returns it.
	Environ []string
	// Options are KEY=VALUE from the command line.
	Options []string
}

// Setting is a value and where it comes from.
type Setting struct {
	Name   string
	Value  string
	Origin string // such as server.properties:12, KAFKA_LISTENERS, -o, or "default"
	Key    *Key   // nil: nobody knows it
	scoped bool   // for one listener
	env    bool   // from the environment
}

// Settings is everything that was set statically, each value checked by itself.
type Settings struct {
	byName map[string]Setting
	// Warnings are worth a look and no reason not to start, such as a key that a file sets twice.
	Warnings []string
}

// Load reads all sources. Its error joins one *SettingError for each bad value, so that all are seen at once; the
// Settings are there then too, for those who want to look at them.
func Load(from Sources) (*Settings, error) {
	s := &Settings{byName: map[string]Setting{}}
	for name, value := range from.Defaults {
		s.set(name, value, builtIn)
	}
	if from.File != "" {
		if err := s.readFile(from.File); err != nil {
			return nil, err
		}
	}
	variables, warnings := environment(from.Environ)
	s.Warnings = append(s.Warnings, warnings...)
	for _, v := range variables {
		s.set(v.key, v.value, v.name)
		x := s.byName[v.key]
		x.env = true
		s.byName[v.key] = x
	}
	for _, o := range from.Options {
		name, value, ok := strings.Cut(o, "=")
		if !ok {
			return nil, fmt.Errorf("-o %s: write it as KEY=VALUE", o)
		}
		s.set(strings.TrimSpace(name), value, "-o")
	}
	if _, ok := s.byName["broker.id"]; ok && s.byName["node.id"].Origin == builtIn {
		delete(s.byName, "node.id") // its older name was set
	}
	return s, s.validate()
}

// builtIn is the Origin of kbroker's own defaults.
const builtIn = "default"

func (s *Settings) set(name, value, origin string) {
	k, scoped := brokerKey(name)
	s.byName[name] = Setting{Name: name, Value: value, Origin: origin, Key: k, scoped: scoped}
}

func (s *Settings) readFile(name string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("reading the settings: %w", err)
	}
	properties, err := parseProperties(data)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	lines := map[string]int{}
	for _, p := range properties {
		if first, twice := lines[p.name]; twice {
			s.Warnings = append(s.Warnings, fmt.Sprintf("%s: %s is set on line %d and again on line %d; the last one counts",
				path.Base(name), p.name, first, p.line))
		}
		lines[p.name] = p.line
		s.set(p.name, p.value, path.Base(name)+":"+strconv.Itoa(p.line))
	}
	return nil
}

// All returns every setting by name.
func (s *Settings) All() []Setting {
	return slices.SortedFunc(maps.Values(s.byName), func(a, b Setting) int { return strings.Compare(a.Name, b.Name) })
}

// Unknown returns the settings that nobody knows. They have no effect.
func (s *Settings) Unknown() []Setting {
	return s.filter(func(x Setting) bool { return x.Key == nil })
}

// WithoutEffect returns the settings that are accepted and change nothing.
func (s *Settings) WithoutEffect() []Setting {
	return s.filter(func(x Setting) bool {
		return x.Key != nil && x.Origin != builtIn && (x.Key.Class != Works || x.scoped) && !x.refused()
	})
}

// Refused returns the settings that ask for what kbroker cannot do. Load fails where there are some.
func (s *Settings) Refused() []Setting { return s.filter(Setting.refused) }

func (x Setting) refused() bool {
	if x.Key == nil {
		return false
	}
	shown, err := x.Key.Parse(x.Value)
	return err == nil && x.Key.refuses(shown)
}

// Working returns the settings that kbroker acts upon.
func (s *Settings) Working() []Setting {
	return s.filter(func(x Setting) bool { return x.Key != nil && x.Key.Class == Works && !x.scoped })
}

func (s *Settings) filter(keep func(Setting) bool) []Setting {
	return slices.DeleteFunc(s.All(), func(x Setting) bool { return !keep(x) })
}

// SettingError says what is wrong with one setting, and where it was set.
type SettingError struct {
	Setting
	Refused bool // the value is well formed, and kbroker cannot do what it asks for
	Err     error
}

func (e *SettingError) Error() string { return e.Origin + ": " + e.Err.Error() }

func (e *SettingError) Unwrap() error { return e.Err }

// validate checks each value by itself. What several say together, NewStore checks.
func (s *Settings) validate() error {
	var all []error
	for _, x := range s.All() {
		if err := x.validate(); err != nil {
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}

func (x Setting) validate() error {
	k := x.Key
	if k == nil {
		// A variable may have been put there by and for others: it is listed as unknown.
		if strings.HasPrefix(x.Name, "kbroker.") && !x.env {
			hint := "see docs/configuration.md for those it has"
			if near := Suggest(x.Name); near != "" {
				hint = "did you mean " + near + "?"
			}
			return &SettingError{Setting: x, Err: fmt.Errorf("%s: kbroker has no such setting; %s", x.Name, hint)}
		}
		return nil
	}
	if k.Dynamic {
		return &SettingError{Setting: x, Err: fmt.Errorf("%s: can only be set at run time, not in a file", x.Name)}
	}
	if _, err := k.Parse(x.Value); err != nil {
		return &SettingError{Setting: x, Err: err}
	}
	if x.refused() {
		return &SettingError{Setting: x, Refused: true, Err: fmt.Errorf("%s=%s: %s", x.Name, x.Value, k.Note)}
	}
	return nil
}

// refuses reports whether the value of a Refused key is one that kbroker cannot do.
func (k *Key) refuses(shown string) bool {
	if k.Class != Refused || shown == "" || slices.Contains(k.Allowed, shown) {
		return false
	}
	def, err := k.canonical(k.Default)
	return k.Null || err != nil || shown != def
}
