package twin

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/integration/batch"
)

// view says how a response is printed: which masks apply, and which values have names.
type view struct {
	masks []Mask
	api   string
	vars  env
	right kmsg.Response // kbroker's answer to the same request; nil if it is none
	lines []string
}

// render prints an entry, one field per line, as "Topics[0].Partitions[0].ErrorCode: NONE".
func (e *entry) render(masks []Mask, vars env, right kmsg.Response) []string {
	if e.resp == nil {
		return []string{e.outcome}
	}
	v := &view{masks: masks, api: kmsg.NameForKey(e.key), vars: vars, right: right}
	v.fields("", "", reflect.ValueOf(e.resp).Elem())
	return v.lines
}

func (v *view) line(path, text string) { v.lines = append(v.lines, path+": "+text) }

// value prints x. path is where it stands, with its indexes; form is the same with empty brackets, as masks have it.
func (v *view) value(path, form string, x reflect.Value) {
	kind := v.mask(form)
	if kind&maskDrop != 0 {
		return
	}
	if kind&(maskSet|maskRole|maskText) != 0 {
		v.line(path, v.shape(x, kind))
		return
	}
	switch x.Kind() {
	case reflect.Pointer:
		if x.IsNil() {
			v.line(path, "null")
			return
		}
		v.value(path, form, x.Elem())
	case reflect.Struct:
		v.fields(path+".", form+".", x)
	case reflect.Slice:
		v.slice(path, form, x, kind)
	case reflect.String:
		v.line(path, strconv.Quote(x.String()))
	case reflect.Array:
		v.line(path, fmt.Sprintf("%x", x.Interface()))
	default:
		if code, ok := x.Interface().(int16); ok && strings.HasSuffix(path, "ErrorCode") {
			v.line(path, errorName(code))
			return
		}
		v.line(path, fmt.Sprint(x.Interface()))
	}
}

func (v *view) fields(path, form string, x reflect.Value) {
	for i := range x.NumField() {
		f := x.Type().Field(i)
		if tags, ok := x.Field(i).Interface().(kmsg.Tags); ok {
			tags.Each(func(key uint32, b []byte) { v.lines = append(v.lines, fmt.Sprintf("%stags[%d]: %x", path, key, b)) })
			continue
		}
		if f.Name == "Version" && path == "" {
			continue
		}
		v.value(path+f.Name, form+f.Name, x.Field(i))
	}
}

func (v *view) slice(path, form string, x reflect.Value, kind maskKind) {
	if b, ok := x.Interface().([]byte); ok {
		v.bytes(path, form, b)
		return
	}
	if x.IsNil() {
		v.line(path, "null")
		return
	}
	if x.Len() == 0 {
		v.line(path, "[]")
		return
	}
	var rows []reflect.Value
	for i := range x.Len() {
		if row := x.Index(i); v.keeps(path, row, kind) {
			rows = append(rows, row)
		}
	}
	if kind&(maskSort|maskOwn) != 0 {
		v.sorted(path, form, rows)
		return
	}
	for i, row := range rows {
		v.value(fmt.Sprintf("%s[%d]", path, i), form+"[]", row)
	}
}

// keeps says whether a row is compared, as far as own, shared and extra have a say in it.
func (v *view) keeps(path string, row reflect.Value, kind maskKind) bool {
	if kind&maskOwn != 0 && !strings.HasPrefix(rowName(row, "Topic")+rowName(row, "Group"), fmt.Sprint(v.vars["prefix"])) {
		return false
	}
	if name := rowName(row, "Name"); kind&maskExtra != 0 && (strings.HasPrefix(name, "kbroker.") || name == retentionDelay) {
		return false
	}
	return kind&maskShared == 0 || v.right == nil || v.hasRow(path, row)
}

func rowName(row reflect.Value, field string) string {
	if row.Kind() != reflect.Struct {
		return ""
	}
	name := row.FieldByName(field)
	if name.Kind() == reflect.Pointer {
		name = name.Elem()
	}
	if name.Kind() != reflect.String {
		return ""
	}
	return name.String()
}

// hasRow says whether kbroker's array at path, which is one of the response itself, has a row with the same first field.
func (v *view) hasRow(path string, row reflect.Value) bool {
	rows := reflect.ValueOf(v.right).Elem().FieldByName(path)
	for i := range rows.Len() {
		if rows.Index(i).Field(0).Interface() == row.Field(0).Interface() {
			return true
		}
	}
	return false
}

// sorted prints rows in the order of their text, under an index that says nothing.
func (v *view) sorted(path, form string, rows []reflect.Value) {
	before := v.lines
	var texts []string
	for _, row := range rows {
		v.lines = nil
		v.value(path+"[*]", form+"[]", row)
		texts = append(texts, strings.Join(v.lines, "\n"))
	}
	slices.Sort(texts)
	v.lines = before
	for _, text := range texts {
		v.lines = append(v.lines, strings.Split(text, "\n")...)
	}
}

// bytes prints a record set batch by batch, and other bytes in hex.
func (v *view) bytes(path, form string, b []byte) {
	if b == nil {
		v.line(path, "null")
		return
	}
	if !strings.HasSuffix(form, "RecordBatches") {
		v.line(path, fmt.Sprintf("%x", b))
		return
	}
	v.line(path, fmt.Sprintf("%d bytes", len(b)))
	batches, tail, err := batch.Decode(b)
	for i, one := range batches {
		one := *one
		one.Payload = nil
		v.batch(fmt.Sprintf("%s[%d]", path, i), form+"[]", &one)
	}
	if err != nil {
		v.line(path, err.Error())
	} else if len(tail) > 0 {
		v.line(path, fmt.Sprintf("and %d bytes of a cut batch", len(tail)))
	}
}

func (v *view) batch(path, form string, b *batch.Batch) {
	header := reflect.ValueOf(b).Elem()
	for i := range header.NumField() {
		switch name := header.Type().Field(i).Name; name {
		case "Records", "Payload", "XerialSnappy":
		case "CRC":
			v.value(path+".CRC", form+".CRC", reflect.ValueOf(fmt.Sprintf("%08x", b.CRC)))
		default:
			v.value(path+"."+name, form+"."+name, header.Field(i))
		}
	}
	for i, r := range b.Records {
		text := fmt.Sprintf("offset +%d timestamp +%d %s: %s", r.OffsetDelta, r.TimestampDelta, show(r.Key), show(r.Value))
		for _, h := range r.Headers {
			text += fmt.Sprintf(" {%s: %s}", h.Key, show(h.Value))
		}
		v.lines = append(v.lines, fmt.Sprintf("%s.Records[%d]: %s", path, i, text))
	}
}

// show prints a key or value, shortened where it is long.
func show(b []byte) string {
	if b == nil {
		return "null"
	}
	if len(b) > 80 {
		return fmt.Sprintf("%q… %d bytes", b[:20], len(b))
	}
	return strconv.Quote(string(b))
}

// someText stands for a text where masks say text.
const someText = "(some text)"

// shape prints whether a value is a default, or its name if the case has captured it.
func (v *view) shape(x reflect.Value, kind maskKind) string {
	for x.Kind() == reflect.Pointer && !x.IsNil() {
		x = x.Elem()
	}
	if n := x.Kind(); n == reflect.Pointer || n == reflect.Slice && x.IsNil() {
		return "null"
	}
	if x.IsZero() || x.CanInt() && x.Int() == -1 || x.Kind() == reflect.Slice && x.Len() == 0 {
		if x.Kind() == reflect.Array {
			return "zero"
		}
		return fmt.Sprintf("%v", x.Interface())
	}
	if kind&maskText != 0 {
		return someText
	}
	if kind&maskRole != 0 {
		for _, name := range sortedKeys(v.vars) {
			if have := v.vars[name]; have == x.Interface() || x.CanInt() && have == x.Int() {
				return "$" + name
			}
		}
	}
	return "(set)"
}

func sortedKeys(vars env) []string {
	var names []string
	for name := range vars {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// lookup finds a field of a response by its path. Numbers come back as int64, and pointers as what they point to.
func lookup(resp kmsg.Response, path string) (any, error) {
	x := reflect.ValueOf(resp).Elem()
	for _, part := range strings.Split(path, ".") {
		name, index, indexed := strings.Cut(strings.TrimSuffix(part, "]"), "[")
		if x.Kind() == reflect.Pointer {
			x = x.Elem()
		}
		if x.Kind() == reflect.Struct {
			x = x.FieldByName(name)
		}
		if !x.IsValid() {
			return nil, fmt.Errorf("%T has no %s (%s)", resp, path, name)
		}
		if indexed {
			i, err := strconv.Atoi(index)
			if err != nil || x.Kind() != reflect.Slice || i >= x.Len() {
				return nil, fmt.Errorf("%T has no %s", resp, path)
			}
			x = x.Index(i)
		}
	}
	switch {
	case x.Kind() == reflect.Pointer && x.IsNil():
		return nil, nil
	case x.Kind() == reflect.Pointer:
		x = x.Elem()
	}
	if x.CanInt() {
		return x.Int(), nil
	}
	return x.Interface(), nil
}

// errorCodes returns the names of the error codes in a response that are not 0, each once, sorted.
func errorCodes(resp kmsg.Response) []string {
	var out []string
	var walk func(x reflect.Value)
	walk = func(x reflect.Value) {
		switch x.Kind() {
		case reflect.Pointer:
			if !x.IsNil() {
				walk(x.Elem())
			}
		case reflect.Slice:
			if x.Type().Elem().Kind() == reflect.Struct {
				for i := range x.Len() {
					walk(x.Index(i))
				}
			}
		case reflect.Struct:
			for i := range x.NumField() {
				f := x.Field(i)
				if strings.HasSuffix(x.Type().Field(i).Name, "ErrorCode") && f.Kind() == reflect.Int16 {
					if code := int16(f.Int()); code != 0 {
						out = append(out, errorName(code))
					}
				} else if x.Type().Field(i).IsExported() {
					walk(f)
				}
			}
		}
	}
	walk(reflect.ValueOf(resp))
	slices.Sort(out)
	return slices.Compact(out)
}
