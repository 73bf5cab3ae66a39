package client

import (
	"math"
	"reflect"

	"github.com/parachute-proxy/parachute/internal/api"
)

// makePrintable replaces, in every text of an answer, what would steer a terminal: what
// answers may not be a proxy, or may pass on what others have said. v is a pointer.
func makePrintable(v any) { sanitize(reflect.ValueOf(v)) }

func sanitize(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		if v.CanSet() {
			v.SetString(api.PrintableUpTo(v.String(), math.MaxInt))
		}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			sanitize(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			switch field := v.Type().Field(i); {
			case field.Tag.Get("text") == "lines":
				v.Field(i).SetString(api.PrintableLines(v.Field(i).String()))
			case field.IsExported():
				sanitize(v.Field(i))
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			sanitize(v.Index(i))
		}
	}
}
