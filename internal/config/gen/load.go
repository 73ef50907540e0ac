package main

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
)

// table is the keys of one scope, in the order in which Kafka lists them on the wire.
type table struct {
	scope    string // as in classes.tsv
	variable string // in Go
	keys     []key
}

// key is one setting with all that the files in data say about it.
type key struct {
	name, typ, def, valid, importance, update string
	null, hidden, dynamic                     bool
	synonyms                                  []string // "NAME" or "NAME (UNIT)"
	class, note, doc                          string
	allowed                                   []string
}

// row is one line of a table by the names of its columns.
type row map[string]string

func read(file string) ([]row, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	columns := strings.Split(lines[0], "\t")
	var rows []row
	for i, line := range lines[1:] {
		fields := strings.Split(line, "\t")
		if len(fields) != len(columns) {
			return nil, fmt.Errorf("%s:%d has %d fields, not %d", file, i+2, len(fields), len(columns))
		}
		r := row{}
		for c, name := range columns {
			r[name] = fields[c]
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// load reads everything in dir.
func load(dir string) ([]table, error) {
	tables := []table{
		{scope: "broker", variable: "brokerKeys"}, {scope: "topic", variable: "topicKeys"},
		{scope: "group", variable: "groupKeys"}, {scope: "client-metrics", variable: "clientMetricsKeys"},
	}
	classes, err := read(path.Join(dir, "classes.tsv"))
	if err != nil {
		return nil, err
	}
	ours, err := read(path.Join(dir, "kbroker-configs.tsv"))
	if err != nil {
		return nil, err
	}
	order, err := wireOrder(path.Join(dir, "describe-configs-wire.tsv"))
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	for i := range tables {
		t := &tables[i]
		rows, err := read(path.Join(dir, t.scope+"-configs.tsv"))
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			if !strings.HasPrefix(r["name"], "(") { // "(match selectors)" is a remark
				t.keys = append(t.keys, newKey(r))
			}
		}
		rank := order[t.scope]
		slices.SortStableFunc(t.keys, func(a, b key) int { return cmp.Compare(rank(a), rank(b)) })
		for _, r := range ours {
			if r["scope"] == t.scope {
				t.keys = append(t.keys, newKey(r))
			}
		}
		for k := range t.keys {
			if err := classify(t.scope, &t.keys[k], classes, used); err != nil {
				return nil, err
			}
		}
	}
	return tables, unused(classes, used)
}

// newKey reads what Kafka's tables and ours say. Their columns differ by kind of resource.
func newKey(r row) key {
	k := key{
		name: r["name"], typ: r["type"], def: r["default"], valid: r["valid"], importance: r["importance"],
		update: r["update_mode"], hidden: r["on_wire"] == "no", dynamic: r["flag"] == "dynamic-only",
	}
	switch k.def {
	case "null", "(required)":
		k.def, k.null = "", true
	case `""`:
		k.def = ""
	}
	k.synonyms = synonymsOf(r)
	return k
}

// synonymsOf returns the settings of the broker that supply a value. A broker's own setting without older names has none.
func synonymsOf(r row) []string {
	list := cmp.Or(r["synonyms_in_lookup_order"], r["all_server_synonyms_in_order"], r["broker_synonym"], r["server_synonyms"])
	if list == "" || list == "null" || r["synonyms_in_lookup_order"] == r["name"] {
		return nil
	}
	return strings.Split(list, ", ")
}

// wireOrder returns by scope where a key stands on the wire; what is not there comes last.
func wireOrder(file string) (map[string]func(key) int, error) {
	rows, err := read(file)
	if err != nil {
		return nil, err
	}
	place := map[string]map[string]int{}
	for i, r := range rows {
		if r["resource_type"] == "4" && r["resource"] == "" {
			continue
		}
		scope := map[string]string{"2": "topic", "4": "broker", "16": "client-metrics", "32": "group"}[r["resource_type"]]
		if place[scope] == nil {
			place[scope] = map[string]int{}
		}
		place[scope][r["name"]] = i
	}
	order := map[string]func(key) int{}
	for scope, places := range place {
		order[scope] = func(k key) int {
			if i, ok := places[k.name]; ok {
				return i
			}
			return len(rows)
		}
	}
	return order, nil
}

// classify gives k the class of the first line that matches it.
func classify(scope string, k *key, classes []row, used map[string]bool) error {
	for _, c := range classes {
		if ok, err := path.Match(c["keys"], k.name); err != nil || !ok || c["scope"] != scope {
			continue
		}
		used[scope+" "+c["keys"]] = true
		k.class, k.note, k.doc = c["class"], c["test_or_reason"], c["documentation"]
		if c["allowed"] != "" {
			k.allowed = strings.Split(c["allowed"], ",")
		}
		if k.note == "" || (k.class == "works") != (k.doc != "") {
			return fmt.Errorf("classes.tsv: %s key %s: a class needs its test or reason, and a key that works a sentence", scope, k.name)
		}
		return nil
	}
	return fmt.Errorf("classes.tsv says nothing about the %s key %s", scope, k.name)
}

// unused finds lines of classes.tsv that no key matched first.
func unused(classes []row, used map[string]bool) error {
	left := map[string]bool{}
	for _, c := range classes {
		if name := c["scope"] + " " + c["keys"]; !used[name] {
			left[name] = true
		}
	}
	if len(left) == 0 {
		return nil
	}
	return fmt.Errorf("classes.tsv: no key matches %s", strings.Join(slices.Sorted(maps.Keys(left)), "; "))
}
