package twin

import (
	"encoding"
	"encoding/binary"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// value is a value as a script writes it. What it becomes depends on the field that it goes into and on the variables,
// which differ between the two brokers.
type value any

type (
	num     int64
	literal string // text; ${name} is replaced
	raw     []byte
	boolean bool
	null    struct{}
	list    []value
	object  []member
	ref     struct {
		name string
		add  int64
	}
	call struct {
		name  string
		args  []value
		named []member
	}
	record struct {
		key, value value
		delta      int64
		headers    object
	}
	member struct {
		key   string // empty: a topic variable that fills in name and id
		value value
	}
)

// env holds the variables of one case on one broker: int64, string, [16]byte, []byte or bool.
type env map[string]any

// expand replaces ${name} in text.
func (e env) expand(s literal) (string, error) {
	parts := strings.Split(string(s), "${")
	out := parts[0]
	for _, part := range parts[1:] {
		name, rest, ok := strings.Cut(part, "}")
		v, known := e[name]
		if !ok || !known {
			return "", fmt.Errorf("there is no variable ${%s}", name)
		}
		out += fmt.Sprint(v) + rest
	}
	return out, nil
}

// scalar evaluates everything but lists and objects. null is nil.
func (e env) scalar(v value) (any, error) {
	switch v := v.(type) {
	case num:
		return int64(v), nil
	case literal:
		return e.expand(v)
	case raw:
		return []byte(v), nil
	case boolean:
		return bool(v), nil
	case null:
		return nil, nil
	case ref:
		x, ok := e[v.name]
		if !ok {
			return nil, fmt.Errorf("there is no variable $%s", v.name)
		}
		if n, isInt := x.(int64); isInt {
			return n + v.add, nil
		}
		return x, nil
	case call:
		return e.bytesOf(v)
	}
	return nil, fmt.Errorf("%T is not a single value", v)
}

// integer evaluates a value that must be a number.
func (e env) integer(v value) (int64, error) {
	x, err := e.scalar(v)
	n, ok := x.(int64)
	if err == nil && !ok {
		err = fmt.Errorf("want a number, have %v", x)
	}
	return n, err
}

// fill sets dst, a field of a kmsg struct, to the value.
func (e env) fill(dst reflect.Value, v value) error {
	if _, isNull := v.(null); isNull {
		dst.SetZero()
		return nil
	}
	switch dst.Kind() {
	case reflect.Pointer:
		dst.Set(reflect.New(dst.Type().Elem()))
		setDefaults(dst)
		return e.fill(dst.Elem(), v)
	case reflect.Struct:
		return e.fillStruct(dst, v)
	case reflect.Slice:
		if dst.Type().Elem().Kind() != reflect.Uint8 {
			return e.fillSlice(dst, v)
		}
	}
	if word, ok := v.(literal); ok && dst.Kind() != reflect.String {
		if u, ok := dst.Addr().Interface().(encoding.TextUnmarshaler); ok {
			return u.UnmarshalText([]byte(word))
		}
	}
	x, err := e.scalar(v)
	if err != nil {
		return err
	}
	return assign(dst, x)
}

// assign sets a number, text, truth value or bytes.
func assign(dst reflect.Value, x any) error {
	switch x := x.(type) {
	case int64:
		if dst.CanInt() && !dst.OverflowInt(x) {
			dst.SetInt(x)
			return nil
		}
		if dst.CanFloat() {
			dst.SetFloat(float64(x))
			return nil
		}
	case string:
		if dst.CanFloat() { // a number that is not whole is a bare word to the parser
			if f, err := strconv.ParseFloat(x, 64); err == nil {
				dst.SetFloat(f)
				return nil
			}
		}
		if dst.Kind() == reflect.String {
			dst.SetString(x)
			return nil
		}
		if dst.Kind() == reflect.Slice {
			dst.SetBytes([]byte(x))
			return nil
		}
	case []byte:
		if dst.Kind() == reflect.String {
			dst.SetString(string(x))
			return nil
		}
		if dst.Kind() == reflect.Slice {
			dst.SetBytes(x)
			return nil
		}
		if dst.Kind() == reflect.Array && len(x) == dst.Len() {
			reflect.Copy(dst, reflect.ValueOf(x))
			return nil
		}
	case [16]byte:
		if dst.Type() == reflect.TypeFor[[16]byte]() {
			dst.Set(reflect.ValueOf(x))
			return nil
		}
	case bool:
		if dst.Kind() == reflect.Bool {
			dst.SetBool(x)
			return nil
		}
	}
	return fmt.Errorf("%v does not fit into a %s", x, dst.Type())
}

func setDefaults(ptr reflect.Value) {
	if d, ok := ptr.Interface().(interface{ Default() }); ok {
		d.Default()
	}
}

func (e env) fillSlice(dst reflect.Value, v value) error {
	l, ok := v.(list)
	if !ok {
		return fmt.Errorf("want a list for a %s", dst.Type())
	}
	dst.Set(reflect.MakeSlice(dst.Type(), 0, len(l)))
	for _, item := range l {
		n, item, err := e.times(item)
		if err != nil {
			return err
		}
		for i := range n {
			if n > 1 {
				e["i"] = i
			}
			elem := reflect.New(dst.Type().Elem())
			setDefaults(elem)
			if err := e.fill(elem.Elem(), item); err != nil {
				return err
			}
			dst.Set(reflect.Append(dst, elem.Elem()))
		}
	}
	return nil
}

// times takes times(N, value) apart; any other value stands once.
func (e env) times(v value) (int64, value, error) {
	c, ok := v.(call)
	if !ok || c.name != "times" {
		return 1, v, nil
	}
	if len(c.args) != 2 {
		return 0, nil, fmt.Errorf("times takes a number and a value")
	}
	n, err := e.integer(c.args[0])
	return n, c.args[1], err
}

func (e env) fillStruct(dst reflect.Value, v value) error {
	o, ok := v.(object)
	if !ok {
		return fmt.Errorf("want {fields} for a %s", dst.Type())
	}
	for _, m := range o {
		switch m.key {
		case "":
			if err := e.fillTopic(dst, m.value.(ref)); err != nil {
				return err
			}
		case "tags":
			if err := e.fillTags(dst, m.value); err != nil {
				return err
			}
		default:
			f := dst.FieldByName(m.key)
			if !f.IsValid() {
				return fmt.Errorf("%s has no field %s", dst.Type(), m.key)
			}
			if err := e.fill(f, m.value); err != nil {
				return fmt.Errorf("%s: %w", m.key, err)
			}
		}
	}
	return nil
}

// fillTopic sets whatever names a topic in dst: its name, its id, or both, of which a version encodes only one.
func (e env) fillTopic(dst reflect.Value, r ref) error {
	set := 0
	for field, v := range map[string]ref{"Topic": r, "ResourceName": r, "TopicID": {name: r.name + ".id"}} {
		if f := dst.FieldByName(field); f.IsValid() {
			if err := e.fill(f, v); err != nil {
				return err
			}
			set++
		}
	}
	if set == 0 {
		return fmt.Errorf("%s names no topic", dst.Type())
	}
	return nil
}

func (e env) fillTags(dst reflect.Value, v value) error {
	o, ok := v.(object)
	field := dst.FieldByName("UnknownTags")
	if !ok || !field.IsValid() {
		return fmt.Errorf("%s takes no tags", dst.Type())
	}
	tags := field.Addr().Interface().(*kmsg.Tags)
	for _, m := range o {
		key, err := strconv.ParseUint(m.key, 10, 32)
		if err != nil {
			return fmt.Errorf("a tag's key must be a number, not %q", m.key)
		}
		b, err := e.bytes(m.value)
		if err != nil {
			return err
		}
		tags.Set(uint32(key), b)
	}
	return nil
}

// bytes evaluates a value that stands for bytes. null is nil.
func (e env) bytes(v value) ([]byte, error) {
	x, err := e.scalar(v)
	if err != nil {
		return nil, err
	}
	switch x := x.(type) {
	case nil:
		return nil, nil
	case []byte:
		return x, nil
	case string:
		return []byte(x), nil
	case [16]byte:
		return x[:], nil
	case int64: // a record whose key or value is a number stands for its digits
		return strconv.AppendInt(nil, x, 10), nil
	}
	return nil, fmt.Errorf("%v is not bytes", x)
}

// bytesOf evaluates a constructor of bytes.
func (e env) bytesOf(c call) ([]byte, error) {
	switch c.name {
	case "batch":
		return e.batch(c)
	case "legacy":
		return e.legacy(c)
	case "bytes":
		var out []byte
		for _, a := range c.args {
			b, err := e.bytes(a)
			if err != nil {
				return nil, err
			}
			out = append(out, b...)
		}
		return out, nil
	case "flip", "patch", "seal", "cut":
		return e.change(c)
	case "compress":
		return e.compress(c)
	case "subscription":
		return e.subscription(c)
	case "assignment":
		return e.assignment(c)
	}
	if len(c.args) != 1 {
		return nil, fmt.Errorf("%s takes one argument", c.name)
	}
	n, err := e.integer(c.args[0])
	if err != nil {
		return nil, err
	}
	switch c.name {
	case "i8":
		return []byte{byte(n)}, nil
	case "i16":
		return binary.BigEndian.AppendUint16(nil, uint16(n)), nil
	case "i32":
		return binary.BigEndian.AppendUint32(nil, uint32(n)), nil
	case "i64":
		return binary.BigEndian.AppendUint64(nil, uint64(n)), nil
	case "varint":
		return binary.AppendVarint(nil, n), nil
	case "uvarint":
		return binary.AppendUvarint(nil, uint64(n)), nil
	case "zero":
		return make([]byte, n), nil
	case "fill":
		return []byte(strings.Repeat("x", int(n))), nil
	}
	return nil, fmt.Errorf("there is no constructor %s(…)", c.name)
}
