package strict

import "reflect"

// Clone is a copy of the struct at v that shares nothing with it. Lists without
// items are nil in it, as in what Decode gives.
func Clone[T any](v *T) *T {
	c := new(T)
	deepCopy(reflect.ValueOf(c).Elem(), reflect.ValueOf(v).Elem())
	return c
}

func deepCopy(to, from reflect.Value) {
	to.Set(from)
	switch from.Kind() {
	case reflect.Pointer:
		if !from.IsNil() {
			to.Set(reflect.New(from.Type().Elem()))
			deepCopy(to.Elem(), from.Elem())
		}
	case reflect.Slice:
		if to.SetZero(); from.Len() > 0 {
			to.Set(reflect.MakeSlice(from.Type(), from.Len(), from.Len()))
			for i := range from.Len() {
				deepCopy(to.Index(i), from.Index(i))
			}
		}
	case reflect.Map:
		if !from.IsNil() {
			to.Set(reflect.MakeMapWithSize(from.Type(), from.Len()))
			for it := from.MapRange(); it.Next(); {
				value := reflect.New(from.Type().Elem()).Elem()
				deepCopy(value, it.Value())
				to.SetMapIndex(it.Key(), value)
			}
		}
	case reflect.Struct:
		for i := range from.NumField() {
			if to.Field(i).CanSet() {
				deepCopy(to.Field(i), from.Field(i))
			}
		}
	}
}

// Each calls do for each value of type T in the struct at v, in the order of the
// fields, with its path. What do changes is changed in v, except in maps.
func Each[T any](v any, do func(path string, value *T)) {
	each(reflect.ValueOf(v).Elem(), "", reflect.TypeFor[T](), func(path string, v reflect.Value) {
		do(path, v.Addr().Interface().(*T))
	})
}

func each(v reflect.Value, path string, want reflect.Type, do func(path string, v reflect.Value)) {
	if v.Type() == want {
		do(path, v)
		return
	}
	switch {
	case v.Kind() == reflect.Pointer && !v.IsNil():
		each(v.Elem(), path, want, do)
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			each(v.Index(i), path+indexOf(i), want, do)
		}
	case isMapping(v.Type()):
		for _, f := range fieldsOf(v.Type()) {
			each(v.FieldByIndex(f.index), join(path, f.key), want, do)
		}
	}
}
