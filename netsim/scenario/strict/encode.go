package strict

import (
	"encoding"
	"reflect"
	"slices"
	"strconv"
	"time"
)

// Encode writes the struct at v in canonical form, so that Decode gives an equal
// one back: keys in the order of the fields, none that has its default, a value on
// one line if it fits into 100 columns, top-level lists one item a line.
func Encode(v any) []byte {
	n := encode(reflect.ValueOf(v).Elem(), false)
	if n == nil || len(n.entries) == 0 {
		return []byte("{}\n")
	}
	w := writer{}
	w.block(n, 0)
	return []byte(w.b.String())
}

// encode is the node of v; a struct without a key of its own is an empty mapping.
func encode(v reflect.Value, one bool) *node {
	t := v.Type()
	switch {
	case t.Kind() == reflect.Pointer:
		return encode(v.Elem(), false)
	case t == durationType:
		return &node{kind: plain, text: FormatDuration(v.Interface().(time.Duration))}
	case isText(t):
		return &node{kind: word, text: textOf(v)}
	case isNumbers(t):
		n := &node{kind: list}
		for _, f := range addressable(v).Addr().Interface().(Numbers).Numbers() {
			n.items = append(n.items, &node{kind: plain, text: formatNumber(f)})
		}
		return n
	case t.Kind() == reflect.Struct:
		return encodeStruct(v)
	case t.Kind() == reflect.Slice:
		if one && v.Len() == 1 && t.Elem().Kind() != reflect.Slice {
			return encode(v.Index(0), false)
		}
		n := &node{kind: list}
		for i := range v.Len() {
			n.items = append(n.items, encode(v.Index(i), false))
		}
		return n
	case t.Kind() == reflect.Map:
		n := &node{kind: mapping}
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return compare(a.String(), b.String()) })
		for _, k := range keys {
			n.entries = append(n.entries, entry{key: k.String(), value: encode(v.MapIndex(k), false)})
		}
		return n
	}
	return encodeScalar(v)
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func encodeStruct(v reflect.Value) *node {
	n := &node{kind: mapping}
	for _, f := range fieldsOf(v.Type()) {
		fv := v.FieldByIndex(f.index)
		if isDefault(f, fv) {
			continue
		}
		n.entries = append(n.entries, entry{key: f.key, value: encode(fv, f.one)})
	}
	return n
}

// isDefault reports whether v is what an absent key means.
func isDefault(f field, v reflect.Value) bool {
	if f.def == nil && (v.Kind() == reflect.Slice || v.Kind() == reflect.Map) {
		return v.Len() == 0
	}
	if f.def == nil && !isMapping(v.Type()) {
		return v.IsZero()
	}
	return reflect.DeepEqual(f.absent().Interface(), v.Interface())
}

func encodeScalar(v reflect.Value) *node {
	n := &node{kind: plain}
	switch v.Kind() {
	case reflect.String:
		n.kind, n.text = quoted, v.String()
	case reflect.Bool:
		n.text = strconv.FormatBool(v.Bool())
	case reflect.Int, reflect.Int32, reflect.Int64:
		n.text = strconv.FormatInt(v.Int(), 10)
	case reflect.Uint64:
		n.text = strconv.FormatUint(v.Uint(), 10)
	case reflect.Float64:
		n.text = formatNumber(v.Float())
	default:
		panic("strict: no notation for " + v.Type().String())
	}
	return n
}

func formatNumber(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// textOf is v in its own notation.
func textOf(v reflect.Value) string {
	text, err := addressable(v).Addr().Interface().(encoding.TextMarshaler).MarshalText()
	if err != nil {
		panic("strict: " + v.Type().String() + ": " + err.Error())
	}
	return string(text)
}

// addressable is v, or a copy of it that has an address.
func addressable(v reflect.Value) reflect.Value {
	if v.CanAddr() {
		return v
	}
	c := reflect.New(v.Type()).Elem()
	c.Set(v)
	return c
}
