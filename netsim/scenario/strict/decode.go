package strict

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Decode reads data into the struct at v, whatever v held before. All complaints
// that can be found in one go are reported together; each is a *Problem. The
// document it returns finds places for complaints of the caller's own.
func Decode(file string, data []byte, v any) (*Document, error) {
	root, err := parse(file, data)
	if err != nil {
		return nil, err
	}
	d := decoder{doc: &Document{File: file, lines: strings.Split(string(data), "\n"), root: root}}
	d.decode(root, reflect.ValueOf(v).Elem(), false)
	return d.doc, Join(d.errs)
}

type decoder struct {
	doc  *Document
	errs []*Problem
}

func (d *decoder) bad(n *node, format string, args ...any) {
	d.errs = append(d.errs, d.doc.problem(n.line, n.col, format, args...))
}

// want complains about a value of the wrong kind.
func (d *decoder) want(n *node, what string) { d.bad(n, "want %s, got %s", what, n.describe()) }

// decode reads n into v; one lets a list of one be written bare.
func (d *decoder) decode(n *node, v reflect.Value, one bool) {
	t := v.Type()
	switch {
	case t.Kind() == reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		d.decode(n, v.Elem(), false)
	case t == durationType:
		d.duration(n, v)
	case isText(t):
		d.ownText(n, v.Addr().Interface().(encoding.TextUnmarshaler))
	case isNumbers(t):
		d.numbers(n, v.Addr().Interface().(Numbers))
	case t.Kind() == reflect.Struct:
		d.mapping(n, v)
	case t.Kind() == reflect.Slice:
		d.list(n, v, one)
	case t.Kind() == reflect.Map:
		d.words(n, v)
	default:
		d.scalar(n, v)
	}
}

func (d *decoder) mapping(n *node, v reflect.Value) {
	if n.kind != mapping {
		d.want(n, "keys and values")
		return
	}
	fields := fieldsOf(v.Type())
	known := make([]string, len(fields))
	for i, f := range fields {
		known[i] = f.key
		if value := n.get(f.key); value != nil {
			d.decode(value, v.FieldByIndex(f.index), f.one)
		} else {
			deepCopy(v.FieldByIndex(f.index), f.absent())
		}
	}
	for _, e := range n.entries {
		d.knownKey(e, known)
	}
}

// knownKey complains about e if it is none of known.
func (d *decoder) knownKey(e entry, known []string) {
	for _, k := range known {
		if k == e.key {
			return
		}
	}
	hint := "there is " + strings.Join(known, ", ")
	if near := nearest(e.key, known); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	} else if len(known) == 0 {
		hint = "it takes none"
	}
	d.bad(&node{line: e.line, col: e.col}, "no key %q here; %s", e.key, hint)
}

// list reads a list; an empty one is nil, so that equal documents give equal values.
func (d *decoder) list(n *node, v reflect.Value, one bool) {
	items := n.items
	if n.kind != list {
		if !one || n.kind == null {
			d.want(n, "a list")
			return
		}
		items = []*node{n}
	}
	v.SetZero()
	if len(items) == 0 {
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
	for i, item := range items {
		d.decode(item, v.Index(i), false)
	}
}

// words reads a map from text to text; an empty one is nil.
func (d *decoder) words(n *node, v reflect.Value) {
	if n.kind != mapping {
		d.want(n, "keys and values")
		return
	}
	v.SetZero()
	if len(n.entries) == 0 {
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for _, e := range n.entries {
		value := reflect.New(v.Type().Elem()).Elem()
		d.decode(e.value, value, false)
		v.SetMapIndex(reflect.ValueOf(e.key).Convert(v.Type().Key()), value)
	}
}

func (d *decoder) ownText(n *node, v encoding.TextUnmarshaler) {
	if n.kind != plain && n.kind != quoted {
		d.want(n, "a word")
		return
	}
	if err := v.UnmarshalText([]byte(n.text)); err != nil {
		d.bad(n, "%v", err)
	}
}

func (d *decoder) numbers(n *node, v Numbers) {
	if n.kind != list {
		d.want(n, "a list of numbers")
		return
	}
	var values []float64
	for _, item := range n.items {
		f, ok := number(item)
		if !ok {
			d.want(item, "a number")
			return
		}
		values = append(values, f)
	}
	if err := v.SetNumbers(values); err != nil {
		d.bad(n, "%v", err)
	}
}

// number reads a decimal number that is a number; -0 is 0.
func number(n *node) (float64, bool) {
	f, err := strconv.ParseFloat(n.text, 64)
	if n.kind != plain || err != nil || math.IsNaN(f) || math.IsInf(f, 0) || strings.ContainsAny(n.text, "xX_") {
		return 0, false
	}
	return f + 0, true
}

func (d *decoder) duration(n *node, v reflect.Value) {
	if n.kind != plain && n.kind != quoted {
		d.want(n, "a time such as 30s, 6m or 1h30m")
		return
	}
	t, err := ParseDuration(n.text)
	if err != nil {
		d.bad(n, "%v", err)
		return
	}
	v.SetInt(int64(t))
}

func (d *decoder) scalar(n *node, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		if n.kind != quoted && (n.kind != plain || typed(n.text)) {
			d.want(n, "text")
		} else if i := strings.IndexFunc(n.text, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
			d.bad(n, "text of one line, without control characters, is wanted")
		} else {
			v.SetString(n.text)
		}
	case reflect.Bool:
		if n.kind != plain || (n.text != "true" && n.text != "false") {
			d.want(n, "true or false")
			return
		}
		v.SetBool(n.text == "true")
	case reflect.Int, reflect.Int32, reflect.Int64:
		i, err := strconv.ParseInt(n.text, 10, v.Type().Bits())
		if n.kind != plain || err != nil {
			d.want(n, "a whole number")
			return
		}
		v.SetInt(i)
	case reflect.Uint64:
		u, err := strconv.ParseUint(n.text, 10, 64)
		if n.kind != plain || err != nil {
			d.want(n, "a whole number from 0")
			return
		}
		v.SetUint(u)
	case reflect.Float64:
		f, ok := number(n)
		if !ok {
			d.want(n, "a number")
			return
		}
		v.SetFloat(f)
	default:
		panic("strict: no notation for " + v.Type().String())
	}
}

// ParseDuration is time.ParseDuration that knows days (14d, 1d12h).
func ParseDuration(s string) (time.Duration, error) {
	bad := fmt.Errorf("%q is no time: write 30s, 6m, 1h30m or 14d", s)
	days, rest, ok := strings.Cut(s, "d")
	if !ok {
		days, rest = "0", s
	}
	n, err := strconv.ParseInt(days, 10, 32)
	if err != nil || n < -100_000 || n > 100_000 || (n < 0 && rest != "") {
		return 0, bad
	}
	t := time.Duration(n) * 24 * time.Hour
	if ok && rest == "" {
		return t, nil
	}
	more, err := time.ParseDuration(rest)
	if err != nil || (ok && more < 0) || t+more < t && more > 0 {
		return 0, bad
	}
	return t + more, nil
}

// FormatDuration is the shortest form that ParseDuration reads back: 6m, not 6m0s.
func FormatDuration(t time.Duration) string {
	const day = 24 * time.Hour
	if t != 0 && t%day == 0 && t/day < 100_000 && t/day > -100_000 {
		return strconv.FormatInt(int64(t/day), 10) + "d"
	}
	s := t.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// typed reports whether a plain scalar means something else than text: nothing,
// or yes and no.
func typed(s string) bool {
	switch strings.ToLower(s) {
	case "", "~", "null", "true", "false":
		return true
	}
	return false
}
