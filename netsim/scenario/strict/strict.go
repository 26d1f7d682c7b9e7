// Package strict reads YAML into plain structs and refuses whatever it does not
// know, and writes such structs back in one canonical form.
//
// A scenario that is misread tests something else than it says. So an unknown or
// repeated key, a value of the wrong kind, and a value out of its bounds are errors
// that name the file, show the line and mark the column. Anchors, aliases, tags and
// merge keys are refused: what a reader sees is what there is.
//
// The struct says all of it. A field has these tags:
//
//	yaml:"name"        its key; "name,one" lets a list of one be written bare;
//	                   ",inline" on an embedded struct means its fields
//	default:"20MiB"    YAML that an absent key stands for
//	oneof:"lan mesh"   the words a string may be
//	min:"1" max:"64"   bounds, in the field's own notation
//
// Without bounds a number or time is at least 0 and at most a generous maximum.
// Types with a notation of their own implement encoding.TextMarshaler and
// TextUnmarshaler, or Numbers for a list of numbers. Decode and Encode undo each
// other: a key is printed only if its value is not its default.
package strict

import (
	"encoding"
	"reflect"
	"strings"
	"sync"
	"time"
)

// MaxBytes and MaxLines bound a document: what people write by hand is far below,
// and the YAML parser takes time that grows with the square of the lines.
const (
	MaxBytes = 1 << 20
	MaxLines = 20_000
)

// Numbers is a value written as a list of numbers, such as a point.
type Numbers interface {
	// Numbers returns what SetNumbers takes.
	Numbers() []float64
	// SetNumbers reads the list; its error says what is wanted instead.
	SetNumbers(list []float64) error
}

// Checker is a value that knows what is impossible about itself.
type Checker interface{ Check() error }

// A field is one key of a struct.
type field struct {
	index []int // for FieldByIndex; more than one through inlined structs
	key   string
	one   bool  // a list of one may be written bare
	def   *node // of the default tag, or nil
	tag   reflect.StructTag
	// absent is what an absent key means; it is shared, so nobody changes it.
	absent func() reflect.Value
}

var fieldCache sync.Map // reflect.Type of a struct -> []field

// fieldsOf lists the keys of t in the order of its fields.
func fieldsOf(t reflect.Type) []field {
	if f, ok := fieldCache.Load(t); ok {
		return f.([]field)
	}
	var list []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, opt, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case !f.IsExported():
		case opt == "inline":
			for _, in := range fieldsOf(f.Type) {
				in.index = append([]int{i}, in.index...)
				list = append(list, in)
			}
		case name == "":
			panic("strict: " + t.String() + "." + f.Name + " has no key")
		default:
			fd := field{index: []int{i}, key: name, one: opt == "one", def: defaultOf(t, f), tag: f.Tag}
			fd.absent = sync.OnceValue(func() reflect.Value {
				v := reflect.New(f.Type).Elem()
				blank(fd, v)
				return v
			})
			list = append(list, fd)
		}
	}
	fieldCache.Store(t, list)
	return list
}

// defaultOf parses the default tag of f.
func defaultOf(t reflect.Type, f reflect.StructField) *node {
	text, ok := f.Tag.Lookup("default")
	if !ok {
		return nil
	}
	n, err := parse("default", []byte(text))
	if err != nil {
		panic("strict: default of " + t.String() + "." + f.Name + ": " + err.Error())
	}
	return n
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	textReader   = reflect.TypeFor[encoding.TextUnmarshaler]()
	listReader   = reflect.TypeFor[Numbers]()
)

// isText reports whether t has a notation of its own, as one scalar.
func isText(t reflect.Type) bool { return reflect.PointerTo(t).Implements(textReader) }

// isNumbers reports whether t is written as a list of numbers.
func isNumbers(t reflect.Type) bool { return reflect.PointerTo(t).Implements(listReader) }

// isMapping reports whether t is a struct that is written as a mapping.
func isMapping(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !isText(t) && !isNumbers(t)
}

// Fill gives every field of the struct at v that is zero its default, in structs
// inside it too, but not behind nil pointers. It is for values made in Go; Decode
// has done so already.
func Fill(v any) { fill(reflect.ValueOf(v).Elem()) }

func fill(v reflect.Value) {
	switch {
	case v.Kind() == reflect.Pointer && !v.IsNil():
		fill(v.Elem())
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case isMapping(v.Type()):
		for _, f := range fieldsOf(v.Type()) {
			fv := v.FieldByIndex(f.index)
			if f.def != nil && fv.IsZero() {
				decodeDefault(f, fv)
			}
			fill(fv)
		}
	}
}

// blank sets v to what an absent key means.
func blank(f field, v reflect.Value) {
	v.SetZero()
	if f.def != nil {
		decodeDefault(f, v)
	} else if isMapping(v.Type()) {
		for _, in := range fieldsOf(v.Type()) {
			blank(in, v.FieldByIndex(in.index))
		}
	}
}

func decodeDefault(f field, v reflect.Value) {
	d := decoder{doc: &Document{File: "default"}}
	d.decode(f.def, v, f.one)
	if len(d.errs) > 0 {
		panic("strict: default of " + f.key + ": " + d.errs[0].Error())
	}
}
