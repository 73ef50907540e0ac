package handler

import (
	"reflect"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// codePlan is where the error codes of a structure lie, so that those of an answer are counted without looking at its
// other fields. It is made once for each API.
type codePlan struct {
	codes []int // fields that are error codes
	parts []codePart
}

// codePart is a field that is a structure with error codes, a pointer to one, or a slice of such.
type codePart struct {
	field int
	plan  *codePlan
}

// planCodes finds the error codes in structures of type t, nil when there are none.
func planCodes(t reflect.Type) *codePlan {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	var p codePlan
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Name == "ErrorCode" && f.Type.Kind() == reflect.Int16 {
			p.codes = append(p.codes, i)
		} else if sub := planCodes(f.Type); sub != nil {
			p.parts = append(p.parts, codePart{i, sub})
		}
	}
	if p.codes == nil && p.parts == nil {
		return nil
	}
	return &p
}

// count calls each with every error code in v.
func (p *codePlan) count(v reflect.Value, each func(code int16)) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			p.count(v.Elem(), each)
		}
	case reflect.Slice:
		for i := range v.Len() {
			p.count(v.Index(i), each)
		}
	default:
		for _, f := range p.codes {
			each(int16(v.Field(f).Int()))
		}
		for _, part := range p.parts {
			part.plan.count(v.Field(part.field), each)
		}
	}
}

// countCodes counts the error codes of an answer that is not of the hot path.
func (s *Service) countCodes(resp kmsg.Response) {
	key := resp.Key()
	if p := s.codes[key]; p != nil {
		p.count(reflect.ValueOf(resp), func(code int16) { s.metrics.answered(key, code, 1) })
	}
}
