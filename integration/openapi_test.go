package integration

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/parachute-proxy/parachute/internal/api"
)

// apiDescription is docs/openapi.yaml, and which of its answers have been seen.
type apiDescription struct {
	schemas
	// mu guards seen, which has an entry such as
	// "GET /parachute/services 200 application/json" for every answer.
	mu   sync.Mutex
	seen map[string]bool
}

func readDescription(t *testing.T) *apiDescription {
	t.Helper()
	text, err := os.ReadFile("../docs/openapi.yaml")
	must(t, err)
	var document any
	must(t, yaml.Unmarshal(text, &document))
	// The values of YAML become those that answers are made of.
	normalized, err := json.Marshal(document)
	must(t, err)
	d := &apiDescription{seen: make(map[string]bool)}
	must(t, json.Unmarshal(normalized, &d.document))
	return d
}

// at returns the object under the given keys, with references resolved.
func (d *apiDescription) at(keys ...string) map[string]any {
	found := d.document
	for _, key := range keys {
		next, _ := found[key].(map[string]any)
		if ref, ok := next["$ref"].(string); ok {
			next = d.resolve(ref)
		}
		found = next
	}
	return found
}

// answers returns every answer that is described, as seen has them.
func (d *apiDescription) answers() (all []string) {
	for path, item := range d.at("paths") {
		for method := range item.(map[string]any) {
			for status := range d.at("paths", path, method, "responses") {
				for media := range d.at("paths", path, method, "responses", status, "content") {
					all = append(all, fmt.Sprintf("%s %s %s %s", strings.ToUpper(method), path, status, media))
				}
			}
		}
	}
	slices.Sort(all)
	return all
}

// template returns the path of the description that a request's path fits.
func (d *apiDescription) template(path string) string {
	segments := strings.Split(path, "/")
	for template := range d.at("paths") {
		parts := strings.Split(template, "/")
		fits := len(parts) == len(segments)
		for i := 0; fits && i < len(parts); i++ {
			fits = parts[i] == segments[i] || strings.HasPrefix(parts[i], "{")
		}
		if fits {
			return template
		}
	}
	return ""
}

// check holds an answer against its description.
func (d *apiDescription) check(t *testing.T, method, path string, status int, media string, body []byte) {
	t.Helper()
	path, _, _ = strings.Cut(path, "?")
	code, template := strconv.Itoa(status), d.template(path)
	responses := d.at("paths", template, strings.ToLower(method), "responses")
	described := d.at("paths", template, strings.ToLower(method), "responses", code, "content", media, "schema")
	if responses == nil && status == http.StatusNotFound {
		// A call that the API does not have.
		described = d.at("components", "responses", "NotFound", "content", media, "schema")
	}
	if described == nil {
		t.Errorf("%s %s: %d with %q is not described: %s", method, path, status, media, body)
		return
	}
	values := [][]byte{body}
	if media == "application/x-ndjson" {
		values = slices.Collect(nonEmpty(strings.Lines(string(body))))
	}
	for _, value := range values {
		for _, wrong := range d.schemas.check(described, "answer", parseJSON(t, string(value))) {
			t.Errorf("%s %s: %d: %s\n%s", method, path, status, wrong, value)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen[fmt.Sprintf("%s %s %s %s", method, template, code, media)] = true
}

func nonEmpty(lines func(func(string) bool)) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for line := range lines {
			if strings.TrimSpace(line) != "" && !yield([]byte(line)) {
				return
			}
		}
	}
}

// TestAPIDescriptionHasEveryField compares the schemas with the types that are
// encoded: a field that no call above happened to bring up is described too.
func TestAPIDescriptionHasEveryField(t *testing.T) {
	d := readDescription(t)
	for name, goType := range map[string]reflect.Type{
		"DeployRequest":    reflect.TypeFor[api.DeployRequest](),
		"ServiceStatus":    reflect.TypeFor[api.ServiceStatus](),
		"ReleaseStatus":    reflect.TypeFor[api.ReleaseStatus](),
		"TargetStatus":     reflect.TypeFor[api.TargetStatus](),
		"Options":          reflect.TypeFor[api.Options](),
		"DeploymentStatus": reflect.TypeFor[api.DeploymentStatus](),
		"ProbeReport":      reflect.TypeFor[api.ProbeReport](),
		"ProbeFailure":     reflect.TypeFor[api.ProbeFailure](),
		"Drain":            reflect.TypeFor[api.Drain](),
		"Removal":          reflect.TypeFor[api.Removal](),
		"Plan":             reflect.TypeFor[api.Plan](),
		"FleetStep":        reflect.TypeFor[api.FleetStep](),
		"FleetStatus":      reflect.TypeFor[api.FleetStatus](),
		"Cut":              reflect.TypeFor[api.Cut](),
		"Note":             reflect.TypeFor[api.Note](),
		"History":          reflect.TypeFor[api.History](),
		"PastRelease":      reflect.TypeFor[api.PastRelease](),
		"RollbackRequest":  reflect.TypeFor[api.RollbackRequest](),
		"Error":            reflect.TypeFor[api.Error](),
	} {
		schema := d.at("components", "schemas", name)
		fields, required := jsonFields(goType)
		if got := slices.Sorted(maps.Keys(schema["properties"].(map[string]any))); !slices.Equal(got, fields) {
			t.Errorf("%s has the fields\n%q, its schema\n%q", name, fields, got)
		}
		if got := sortedStrings(schema["required"]); !slices.Equal(got, required) {
			t.Errorf("%s always has the fields\n%q, its schema requires\n%q", name, required, got)
		}
	}
	fields, _ := jsonFields(reflect.TypeFor[api.Event]())
	got := make(map[string]bool)
	for _, variant := range d.at("components", "schemas", "Event")["oneOf"].([]any) {
		for name := range d.resolve(variant.(map[string]any)["$ref"].(string))["properties"].(map[string]any) {
			got[name] = true
		}
	}
	if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, fields) {
		t.Errorf("events have the fields\n%q, their schemas\n%q", fields, names)
	}
}

// jsonFields returns the names of a struct's fields in JSON, and of those that
// are never left out.
func jsonFields(of reflect.Type) (all, required []string) {
	for field := range of.Fields() {
		name, rest, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		all = append(all, name)
		if rest != "omitempty" && rest != "omitzero" {
			required = append(required, name)
		}
	}
	slices.Sort(all)
	slices.Sort(required)
	return all, required
}

func sortedStrings(list any) (all []string) {
	values, _ := list.([]any)
	for _, v := range values {
		all = append(all, v.(string))
	}
	slices.Sort(all)
	return all
}

// TestAPIDescriptionHasEveryCode compares enumerations with the constants of the
// contract.
func TestAPIDescriptionHasEveryCode(t *testing.T) {
	d := readDescription(t)
	constants := apiConstants(t)
	for goType, at := range map[string][2]string{
		"Code":   {"Error", "code"},
		"State":  {"DeploymentStatus", "state"},
		"Health": {"TargetStatus", "health"},
	} {
		got := sortedStrings(d.at("components", "schemas", at[0], "properties", at[1])["enum"])
		if want := constants[goType]; len(want) == 0 || !slices.Equal(got, want) {
			t.Errorf("%s is one of %q, described as %q", goType, want, got)
		}
	}
	mapping := slices.Sorted(maps.Keys(d.at("components", "schemas", "Event", "discriminator", "mapping")))
	if want := constants["EventKind"]; len(want) == 0 || !slices.Equal(mapping, want) {
		t.Errorf("events are %q, described as %q", want, mapping)
	}
}

// apiConstants returns the values of the contract's string constants, sorted, by
// the names of their types.
func apiConstants(t *testing.T) map[string][]string {
	t.Helper()
	all := make(map[string][]string)
	files, err := fs.Glob(os.DirFS("../internal/api"), "*.go")
	must(t, err)
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("../internal/api", name), nil, 0)
		must(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 {
				return true
			}
			goType, _ := spec.Type.(*ast.Ident)
			literal, _ := spec.Values[0].(*ast.BasicLit)
			if goType != nil && literal != nil && literal.Kind == token.STRING {
				value, _ := strconv.Unquote(literal.Value)
				all[goType.Name] = append(all[goType.Name], value)
			}
			return true
		})
	}
	for _, values := range all {
		slices.Sort(values)
	}
	return all
}

// The table of settings and the description say the same of each.
func TestAPIDescriptionAgreesWithTheSettings(t *testing.T) {
	d := readDescription(t)
	for _, s := range api.Settings() {
		schema, name := "DeployRequest", s.Place()
		if object, inner, ok := strings.Cut(name, "."); ok {
			schema, name = map[string]string{"tls": "TLSRequest", "note": "Note"}[object], inner
		}
		described, ok := d.at("components", "schemas", schema, "properties")[name].(map[string]any)
		if !ok {
			t.Errorf("%s is not described", s.Name)
			continue
		}
		switch want := s.Default.(type) {
		case api.Duration:
			text, _ := described["default"].(string)
			if got, err := time.ParseDuration(text); err != nil || api.Duration(got) != want {
				t.Errorf("the default of %s is %s, described as %q", s.Name, want, text)
			}
			if least := "from " + s.Min.String(); !strings.Contains(fmt.Sprint(described["description"]), least) && s.Min > 0 {
				t.Errorf("the bounds of %s are not described: %q", s.Name, described["description"])
			}
		case nil:
		default:
			if got := described["default"]; fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("the default of %s is %v, described as %v", s.Name, want, got)
			}
		}
		if s.Choices != nil {
			enum, _ := d.at("components", "schemas", schema, "properties", name)["enum"].([]any)
			if fmt.Sprint(enum) != fmt.Sprint(s.Choices) {
				t.Errorf("%s may be %q, described as %q", s.Name, s.Choices, enum)
			}
		}
	}
}
