package strict

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of fields that name none: far above what a simulation can bear, far below
// what overflows when added up.
const (
	maxTime   = 365 * 24 * time.Hour
	maxNumber = 1 << 40
	maxLength = 1 << 20 // of a coordinate, in metres
)

// Check walks the struct at v and calls bad for each value that its tags or its own
// Check refuse, with the path that Document.At understands.
func Check(v any, bad func(path, message string)) {
	check(reflect.ValueOf(v).Elem(), "", "", bad)
}

func check(v reflect.Value, path string, tag reflect.StructTag, bad func(path, message string)) {
	t := v.Type()
	if t.Kind() == reflect.Pointer {
		if !v.IsNil() {
			check(v.Elem(), path, tag, bad)
		}
		return
	}
	if c, ok := addressable(v).Addr().Interface().(Checker); ok {
		if err := c.Check(); err != nil {
			bad(path, err.Error())
		}
	}
	switch {
	case t != durationType && isNumbers(t):
		for _, f := range addressable(v).Addr().Interface().(Numbers).Numbers() {
			if !(f >= -maxLength && f <= maxLength) {
				bad(path, fmt.Sprintf("%s is out of bounds: want -%d to %d", formatNumber(f), maxLength, maxLength))
			}
		}
	case isMapping(t):
		for _, f := range fieldsOf(t) {
			check(v.FieldByIndex(f.index), join(path, f.key), f.tag, bad)
		}
	case t.Kind() == reflect.Slice:
		for i := range v.Len() {
			check(v.Index(i), path+indexOf(i), tag, bad)
		}
	case t.Kind() == reflect.String:
		if words := strings.Fields(tag.Get("oneof")); len(words) > 0 && !slices.Contains(words, v.String()) {
			bad(path, fmt.Sprintf("%q: want %s", v.String(), orList(words)))
		}
	default:
		bounds(v, path, tag, bad)
	}
}

// bounds checks a number, time, size or share.
func bounds(v reflect.Value, path string, tag reflect.StructTag, bad func(path, message string)) {
	low, high := reflect.New(v.Type()).Elem(), reflect.New(v.Type()).Elem()
	switch {
	case v.Type() == durationType:
		high.SetInt(int64(maxTime))
	case v.CanInt() && v.Type().Bits() == 64:
		high.SetInt(maxNumber)
	case v.CanInt():
		high.SetInt(1<<31 - 1)
	case v.CanFloat():
		low.SetFloat(-maxLength)
		high.SetFloat(maxLength)
	default:
		return
	}
	bound(low, tag.Get("min"))
	bound(high, tag.Get("max"))
	if less(v, low) || less(high, v) {
		bad(path, fmt.Sprintf("%s is out of bounds: want %s to %s", show(v), show(low), show(high)))
	}
}

// bound reads a bound in the notation of v.
func bound(v reflect.Value, text string) {
	if text == "" {
		return
	}
	d := decoder{doc: &Document{File: "bound"}}
	if d.decode(&node{kind: plain, text: text}, v, false); len(d.errs) > 0 {
		panic("strict: bound " + text + " of " + v.Type().String() + ": " + d.errs[0].Error())
	}
}

// less compares two numbers of one type; what is not a number is not in order.
func less(a, b reflect.Value) bool {
	if a.CanInt() {
		return a.Int() < b.Int()
	}
	return !(a.Float() >= b.Float())
}

func indexOf(i int) string { return "[" + strconv.Itoa(i) + "]" }

func show(v reflect.Value) string { return encode(v, false).text }

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// orList is "a, b or c".
func orList(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}
