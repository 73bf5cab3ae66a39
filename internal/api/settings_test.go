package api

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// fieldsOf returns the places in JSON of all fields of a struct, with those of the
// objects in it.
func fieldsOf(t reflect.Type, prefix string) (all []string) {
	for i, name := range jsonNames(t) {
		of := t.Field(i).Type
		if of.Kind() == reflect.Pointer {
			of = of.Elem()
		}
		if of.Kind() == reflect.Struct {
			all = append(all, fieldsOf(of, prefix+name+".")...)
			continue
		}
		all = append(all, prefix+name)
	}
	return all
}

func TestEverySettingHasOneRow(t *testing.T) {
	var rows []string
	for _, s := range Settings() {
		rows = append(rows, s.Place())
		if s.Text == "" {
			t.Errorf("%s has no text", s.Name)
		}
	}
	request, kept := fieldsOf(reflect.TypeFor[DeployRequest](), ""), fieldsOf(reflect.TypeFor[Options](), "")
	request = slices.DeleteFunc(request, func(f string) bool { return f == "targets" })
	slices.Sort(request)
	slices.Sort(rows)
	if !slices.Equal(rows, request) {
		t.Errorf("the rows are %q, the fields of a request %q", rows, request)
	}
	for _, field := range kept {
		if !slices.Contains(rows, field) {
			t.Errorf("a release keeps %s, which is in no row", field)
		}
	}
}

// TestEverySettingIsToldWhenItChanges also if it is added later: each field gets another
// value in turn.
func TestEverySettingIsToldWhenItChanges(t *testing.T) {
	told := 0
	for _, s := range Settings() {
		a, b := Options{TLS: &TLSOptions{Issuer: IssuerAuto}}, Options{TLS: &TLSOptions{Issuer: IssuerAuto}}
		v, kept := s.In(&b)
		if !kept {
			continue
		}
		told++
		switch v.Kind() {
		case reflect.Bool:
			v.SetBool(!v.Bool())
		case reflect.Int, reflect.Int64:
			v.SetInt(v.Int() + 1)
		case reflect.String:
			if v.SetString("other"); s.Choices != nil {
				v.SetString(s.Choices[len(s.Choices)-1])
			}
		case reflect.Slice:
			v.Set(reflect.ValueOf([]string{"/other"}))
		default:
			t.Fatalf("%s is of a kind that the test does not know: %s", s.Name, v.Kind())
		}
		if got := Changes(nil, a, nil, b); !slices.ContainsFunc(got, func(c string) bool { return strings.HasPrefix(c, s.Name+": ") }) {
			t.Errorf("%s changes, and this is told: %q", s.Name, got)
		}
		if !slices.ContainsFunc(b.NotDefault(), func(v Value) bool { return v.Name == s.Name }) && !b.isDefault(s) {
			t.Errorf("%s is not the default, and is not shown", s.Name)
		}
	}
	if told < 15 {
		t.Errorf("only %d settings are kept, and this test shows little", told)
	}
}

// isDefault reports whether the value that the test has chosen is what a deploy gets.
func (o Options) isDefault(s Setting) bool {
	v, _ := s.In(&o)
	return s.Default != nil && reflect.ValueOf(s.Default).Convert(v.Type()).Interface() == v.Interface()
}

// BenchmarkResolve is what a start costs for each service that is stored.
func BenchmarkResolve(b *testing.B) {
	r := DeployRequest{Targets: []string{"web:1"}, Hosts: []string{"a.test"}, TLS: &TLSRequest{}}
	for b.Loop() {
		if _, err := r.Resolve(); err != nil {
			b.Fatal(err)
		}
	}
}

// TestListsWithCommasAreToldValueByValue: who reads one line of them all cannot tell where a value ends.
func TestListsWithCommasAreToldValueByValue(t *testing.T) {
	a := Options{Headers: []string{"X-A: b, c", "-Server"}, Redirects: []string{"/a /b", "/c /d"}}
	b := Options{Headers: []string{"-Server", "X-A: b, d", "X-E: f"}, Redirects: []string{"/c /d", "/a /b"}}
	want := []string{"header: - X-A: b, c", "header: + X-A: b, d", "header: + X-E: f", "redirect: the order has changed"}
	if got := Changes(nil, a, nil, b); !slices.Equal(got, want) {
		t.Errorf("told is %q, want %q", got, want)
	}
}
