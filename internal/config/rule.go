package config

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// rule says which values a key allows besides what its type does. What it is given has that type already.
type rule interface {
	// allows reports whether value is allowed.
	allows(value string) bool
	// String says what is allowed, to follow the word "allowed:".
	String() string
}

// between allows numbers from min to max, and the number or.
type between struct{ min, max, or float64 }

func atLeast(min float64) between           { return between{min, math.Inf(1), math.NaN()} }
func within(min, max float64) between       { return between{min, max, math.NaN()} }
func withinOr(min, max, or float64) between { return between{min, max, or} }

func (b between) allows(value string) bool {
	v, err := strconv.ParseFloat(value, 64)
	return err == nil && (v >= b.min && v <= b.max || v == b.or)
}

func (b between) String() string {
	s := "at least " + number(b.min)
	if !math.IsInf(b.max, 1) {
		s = number(b.min) + " to " + number(b.max)
	}
	if !math.IsNaN(b.or) {
		s += ", or " + number(b.or)
	}
	return s
}

func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// oneOf allows some words. In a list, each element must be one of them.
type oneOf []string

func (o oneOf) allows(value string) bool { return slices.Contains(o, value) }
func (o oneOf) String() string           { return strings.Join(o, ", ") }

// oneOfFold is oneOf in upper or lower case.
type oneOfFold []string

func (o oneOfFold) allows(value string) bool {
	return slices.ContainsFunc(o, func(w string) bool { return strings.EqualFold(w, value) })
}
func (o oneOfFold) String() string { return strings.Join(o, ", ") + ", in upper or lower case" }

// nonEmpty allows all but the empty string. In a list, no element may be empty.
type nonEmpty struct{}

func (nonEmpty) allows(value string) bool { return value != "" }
func (nonEmpty) String() string           { return "a value that is not empty" }

// replicas allows the elements of a throttle: PARTITION:BROKER each, or a single *.
type replicas struct{}

var partitionBroker = regexp.MustCompile(`^[0-9]+:[0-9]+$`)

func (replicas) allows(value string) bool { return value == "" || partitionBroker.MatchString(value) }
func (replicas) String() string           { return "* or a list of PARTITION:BROKER" }

// offsetReset allows where a new share group starts.
type offsetReset struct{}

var isoDuration = regexp.MustCompile(`^by_duration:P([0-9]+D)?(T([0-9]+H)?([0-9]+M)?([0-9]+(\.[0-9]+)?S)?)?$`)

func (offsetReset) allows(value string) bool {
	last := value[max(0, len(value)-1):]
	return value == "latest" || value == "earliest" || isoDuration.MatchString(value) && last != "P" && last != "T"
}
func (offsetReset) String() string { return "latest, earliest, or by_duration:PnDTnHnMn.nS" }

// ValueError says that a value is not one that a key allows.
type ValueError struct {
	Key     *Key
	Value   string
	Problem string // such as "is not a whole number"
}

func (e *ValueError) Error() string {
	value := strconv.Quote(e.Value)
	if e.Key.Sensitive() {
		value = "the value"
	}
	s := fmt.Sprintf("%s: %s %s", e.Key.Name, value, e.Problem)
	if e.Key.Valid != nil {
		s += "; allowed: " + e.Key.Valid.String()
	}
	return s
}

// errNotAllowed is what a rule has against a value; its text is a ValueError's Problem.
var errNotAllowed = errors.New("is not allowed")

// Parse checks value and returns it as DescribeConfigs shows it. Its error is a *ValueError.
func (k *Key) Parse(value string) (string, error) {
	shown, err := k.canonical(value)
	if err == nil {
		err = k.check(shown)
	}
	if err != nil {
		return "", &ValueError{Key: k, Value: value, Problem: err.Error()}
	}
	return shown, nil
}

// canonical returns a value of the key's type in the form in which it is shown. Like Kafka it trims all that it knows:
// what a file has behind a value is easily overlooked.
func (k *Key) canonical(value string) (string, error) {
	if k.Type == Unknown {
		return value, nil
	}
	value = strings.TrimSpace(value)
	switch k.Type {
	case Boolean:
		if v := strings.ToLower(value); v == "true" || v == "false" {
			return v, nil
		}
		return "", errors.New("is neither true nor false")
	case Short:
		return whole(value, 16)
	case Int:
		return whole(value, 32)
	case Long:
		return whole(value, 64)
	case Double:
		v, err := strconv.ParseFloat(value, 64)
		if err != nil || math.IsNaN(v) {
			return "", errors.New("is not a number")
		}
		return javaDouble(v), nil
	case List:
		return strings.Join(k.distinct(splitList(value)), ","), nil
	}
	return value, nil
}

func whole(value string, bits int) (string, error) {
	v, err := strconv.ParseInt(value, 10, bits)
	if errors.Is(err, strconv.ErrRange) {
		return "", fmt.Errorf("is out of the range of %d bits", bits)
	}
	if err != nil {
		return "", errors.New("is not a whole number")
	}
	return strconv.FormatInt(v, 10), nil
}

// distinct drops repeated elements where the elements are words of a set; elsewhere the list stays as it is. Empty
// elements stay for check to find: "," is no empty list.
func (k *Key) distinct(elements []string) []string {
	if _, ok := k.Valid.(oneOf); !ok {
		return elements
	}
	var kept []string
	for _, e := range elements {
		if e == "" || !slices.Contains(kept, e) {
			kept = append(kept, e)
		}
	}
	return kept
}

// check applies the key's rule to a value of its type.
func (k *Key) check(value string) error {
	if k.Valid == nil {
		return nil
	}
	elements := []string{value}
	if k.Type == List {
		elements = splitList(value)
		if _, ok := k.Valid.(replicas); ok && value == "*" {
			return nil
		}
	}
	for _, e := range elements {
		if k.Valid.allows(e) {
			continue
		}
		if k.Type == List && e != value {
			return fmt.Errorf("has the element %q, which %w", e, errNotAllowed)
		}
		return errNotAllowed
	}
	return nil
}

// splitList returns the elements of a list: what stands between commas, without the space around it. The empty string
// is the empty list.
func splitList(value string) []string {
	if value = strings.TrimSpace(value); value == "" {
		return nil
	}
	elements := strings.Split(value, ",")
	for i := range elements {
		elements[i] = strings.TrimSpace(elements[i])
	}
	return elements
}

// javaDouble writes a number as Java's Double.toString does, because clients compare what DescribeConfigs shows.
func javaDouble(v float64) string {
	if abs := math.Abs(v); v == 0 || abs >= 1e-3 && abs < 1e7 {
		s := strconv.FormatFloat(v, 'f', -1, 64)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
		return s
	}
	if math.IsInf(v, 0) {
		return strings.Replace(strconv.FormatFloat(v, 'f', -1, 64), "Inf", "Infinity", 1)
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(v, 'E', -1, 64), "E")
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	e, _ := strconv.Atoi(exponent)
	return mantissa + "E" + strconv.Itoa(e)
}
