package api

import (
	"encoding/json"
	"reflect"
	"time"
)

// durationFields are the fields of [Options] that are a [Duration], and optionSeconds is a
// struct with a number in the place of each.
var durationFields, optionSeconds = func() (fields []int, _ reflect.Type) {
	var numbers []reflect.StructField
	options := reflect.TypeFor[Options]()
	for i := range options.NumField() {
		if f := options.Field(i); f.Type == reflect.TypeFor[Duration]() {
			fields = append(fields, i)
			numbers = append(numbers, reflect.StructField{Name: f.Name, Type: reflect.TypeFor[float64](), Tag: f.Tag})
		}
	}
	return fields, reflect.StructOf(numbers)
}()

// OptionSeconds are the settings of a release that are a [Duration], as numbers of seconds:
// what people write as a string, programs compare as a number.
type OptionSeconds struct {
	// numbers is a struct of numbers, or a map of them where they come from JSON.
	numbers any
}

// Seconds returns the settings of o that are a [Duration].
func (o *Options) Seconds() OptionSeconds {
	from, to := reflect.ValueOf(o).Elem(), reflect.New(optionSeconds).Elem()
	for i, field := range durationFields {
		to.Field(i).SetFloat(time.Duration(from.Field(field).Int()).Seconds())
	}
	return OptionSeconds{to.Interface()}
}

// MarshalJSON writes s as an object.
func (s OptionSeconds) MarshalJSON() ([]byte, error) { return json.Marshal(s.numbers) }

// UnmarshalJSON reads s from an object of numbers.
func (s *OptionSeconds) UnmarshalJSON(b []byte) error {
	var numbers map[string]float64
	err := json.Unmarshal(b, &numbers)
	s.numbers = numbers
	return err
}
