package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// schemas checks JSON values against the part of JSON Schema that
// docs/openapi.yaml uses. A keyword that it does not know is an error, so that
// nothing in the description goes unchecked.
type schemas struct {
	// document is what references are looked up in.
	document map[string]any
}

// annotations are the keywords that say nothing about what is valid.
var annotations = []string{"description", "default", "examples", "discriminator"}

// check returns what is wrong with value, or nil. at is where value is, for the
// messages.
func (s schemas) check(schema map[string]any, at string, value any) []string {
	var wrong []string
	report := func(format string, args ...any) { wrong = append(wrong, at+": "+fmt.Sprintf(format, args...)) }
	for _, keyword := range slices.Sorted(maps.Keys(schema)) {
		want := schema[keyword]
		switch keyword {
		case "$ref":
			wrong = append(wrong, s.check(s.resolve(want.(string)), at, value)...)
		case "type":
			if !hasType(value, want.(string)) {
				report("%v is not of the type %s", value, want)
			}
		case "const":
			if !reflect.DeepEqual(value, want) {
				report("%v is not %v", value, want)
			}
		case "enum":
			if !slices.ContainsFunc(want.([]any), func(v any) bool { return reflect.DeepEqual(v, value) }) {
				report("%v is none of %v", value, want)
			}
		case "pattern":
			if text, ok := value.(string); ok && !regexp.MustCompile(want.(string)).MatchString(text) {
				report("%q does not match %s", text, want)
			}
		case "format":
			if want != "date-time" {
				report("the format %v is not known", want)
			} else if text, ok := value.(string); ok {
				if _, err := time.Parse(time.RFC3339, text); err != nil || !strings.HasSuffix(text, "Z") {
					report("%q is not a time in UTC", text)
				}
			}
		case "minimum":
			if n, ok := value.(float64); ok && n < want.(float64) {
				report("%v is less than %v", n, want)
			}
		case "maximum":
			if n, ok := value.(float64); ok && n > want.(float64) {
				report("%v is more than %v", n, want)
			}
		case "minItems":
			if list, ok := value.([]any); ok && float64(len(list)) < want.(float64) {
				report("%d items are less than %v", len(list), want)
			}
		case "maxItems":
			if list, ok := value.([]any); ok && float64(len(list)) > want.(float64) {
				report("%d items are more than %v", len(list), want)
			}
		case "items":
			list, _ := value.([]any)
			for i, item := range list {
				wrong = append(wrong, s.check(want.(map[string]any), fmt.Sprintf("%s[%d]", at, i), item)...)
			}
		case "required":
			object, _ := value.(map[string]any)
			for _, name := range want.([]any) {
				if _, ok := object[name.(string)]; !ok {
					report("%s is missing", name)
				}
			}
		case "properties":
			object, _ := value.(map[string]any)
			for _, name := range slices.Sorted(maps.Keys(object)) {
				if property, ok := want.(map[string]any)[name]; ok {
					wrong = append(wrong, s.check(property.(map[string]any), at+"."+name, object[name])...)
				}
			}
		case "additionalProperties":
			if want != false {
				report("additionalProperties %v is not known", want)
			}
			known, _ := schema["properties"].(map[string]any)
			object, _ := value.(map[string]any)
			for _, name := range slices.Sorted(maps.Keys(object)) {
				if known[name] == nil {
					report("%s is not described", name)
				}
			}
		case "oneOf":
			wrong = append(wrong, s.checkOneOf(want.([]any), at, value)...)
		default:
			if !slices.Contains(annotations, keyword) {
				report("the keyword %s is not known", keyword)
			}
		}
	}
	return wrong
}

// checkOneOf returns what is wrong with value in the alternative that it comes
// closest to.
func (s schemas) checkOneOf(alternatives []any, at string, value any) []string {
	var closest []string
	matches := 0
	for _, alternative := range alternatives {
		wrong := s.check(alternative.(map[string]any), at, value)
		if len(wrong) == 0 {
			matches++
		}
		if closest == nil || len(wrong) < len(closest) {
			closest = wrong
		}
	}
	switch matches {
	case 0:
		return closest
	case 1:
		return nil
	}
	return []string{fmt.Sprintf("%s: %d alternatives match", at, matches)}
}

// resolve returns what a reference, such as #/components/schemas/Drain, means.
func (s schemas) resolve(ref string) map[string]any {
	var found any = s.document
	for _, key := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
		object, _ := found.(map[string]any)
		found = object[key]
	}
	if object, ok := found.(map[string]any); ok {
		return object
	}
	panic("there is no " + ref)
}

func hasType(value any, name string) bool {
	switch v := value.(type) {
	case string:
		return name == "string"
	case bool:
		return name == "boolean"
	case float64:
		return name == "number" || name == "integer" && v == math.Trunc(v)
	case []any:
		return name == "array"
	case map[string]any:
		return name == "object"
	}
	return false
}

func TestSchemaCheckFindsWhatIsWrong(t *testing.T) {
	s := schemas{document: parseJSON(t, `{"defs": {"name": {"type": "string", "pattern": "^[a-z]+$"}}}`).(map[string]any)}
	for _, tc := range []struct{ schema, value, want string }{
		{`{"$ref": "#/defs/name"}`, `"ab"`, ""},
		{`{"$ref": "#/defs/name"}`, `"AB"`, `it: "AB" does not match ^[a-z]+$`},
		{`{"type": "integer", "minimum": 1, "maximum": 3}`, `2`, ""},
		{`{"type": "integer", "minimum": 1}`, `0`, "it: 0 is less than 1"},
		{`{"type": "integer", "maximum": 3}`, `4`, "it: 4 is more than 3"},
		{`{"type": "integer"}`, `1.5`, "it: 1.5 is not of the type integer"},
		{`{"type": "boolean"}`, `null`, "it: <nil> is not of the type boolean"},
		{`{"type": "array", "items": {"type": "string"}}`, `["a", 1]`, "it[1]: 1 is not of the type string"},
		{`{"minItems": 1}`, `[]`, "it: 0 items are less than 1"},
		{`{"maxItems": 1}`, `[1, 2]`, "it: 2 items are more than 1"},
		{`{"enum": ["a", "b"]}`, `"c"`, "it: c is none of [a b]"},
		{`{"format": "date-time"}`, `"2026-01-02T03:04:05Z"`, ""},
		{`{"format": "date-time"}`, `"2026-01-02T03:04:05+01:00"`, `it: "2026-01-02T03:04:05+01:00" is not a time in UTC`},
		{`{"required": ["a"]}`, `{}`, "it: a is missing"},
		{`{"properties": {"a": {"type": "string"}}}`, `{"a": 1}`, "it.a: 1 is not of the type string"},
		{`{"additionalProperties": false, "properties": {"a": {}}}`, `{"a": 1, "b": 2}`, "it: b is not described"},
		{`{"oneOf": [{"const": "a"}, {"const": "b"}]}`, `"b"`, ""},
		{`{"oneOf": [{"const": "a"}]}`, `"b"`, "it: b is not a"},
		{`{"oneOf": [{"type": "string"}, {"const": "b"}]}`, `"b"`, "it: 2 alternatives match"},
		{`{"multipleOf": 2}`, `3`, "it: the keyword multipleOf is not known"},
	} {
		got := strings.Join(s.check(parseJSON(t, tc.schema).(map[string]any), "it", parseJSON(t, tc.value)), "; ")
		if got != tc.want {
			t.Errorf("%s against %s: got %q, want %q", tc.value, tc.schema, got, tc.want)
		}
	}
}

func parseJSON(t *testing.T, text string) any {
	t.Helper()
	var value any
	must(t, json.Unmarshal([]byte(text), &value))
	return value
}
