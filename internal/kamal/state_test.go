package kamal

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
)

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// servicesIn returns the services in a state file, and what is wrong with it.
func servicesIn(state []byte) ([]Service, error) {
	elements, problem := parseState(state)
	return services(elements), problem
}

// byName returns the services in a state file.
func byName(t *testing.T, state []byte) map[string]Service {
	t.Helper()
	all, problem := servicesIn(state)
	if problem != nil {
		t.Fatal(problem)
	}
	named := make(map[string]Service)
	for _, s := range all {
		named[s.Name] = s
	}
	return named
}

func TestEveryGenerationOfTheStateIsRead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ file, service, want string }{
		{"0.9.2.state", "web", `{"service":"web","targets":["web-1:3000"],"hosts":["app.test","www.app.test"],"path_prefixes":["/"],"strip_path_prefix":true,"health_check_path":"/health","health_check_interval":"2s","health_check_timeout":"3s","deploy_timeout":"30s","drain_timeout":"30s","stream_timeout":"5s","target_timeout":"1m0s","buffer_requests":true,"buffer_responses":true,"log_request_headers":["Cache-Control","Last-Modified","User-Agent"],"tls":{"wait":false,"redirect":true},"canonical_host":"app.test"}`},
		{"0.9.2.state", "api", `{"service":"api","targets":["api:80"],"hosts":["app.test"],"path_prefixes":["/api"],"strip_path_prefix":false,"forward_headers":true,"health_check_path":"/up","health_check_interval":"1s","health_check_timeout":"5s","deploy_timeout":"30s","drain_timeout":"30s","stream_timeout":"5s","target_timeout":"30s"}`},
		{"0.8.7.state", "web", `{"service":"web","targets":["web-1:3000"],"hosts":["app.test"],"path_prefixes":["/x"],"strip_path_prefix":true,"forward_headers":true,"health_check_path":"/up","health_check_interval":"1s","health_check_timeout":"5s","deploy_timeout":"30s","drain_timeout":"30s","stream_timeout":"5s","target_timeout":"30s"}`},
		{"0.7.state", "web", `{"service":"web","targets":["web-1:3000"],"hosts":["app.test"],"strip_path_prefix":true,"health_check_path":"/up","health_check_interval":"1s","health_check_timeout":"5s","deploy_timeout":"30s","drain_timeout":"30s","stream_timeout":"5s","target_timeout":"30s","tls":{"wait":false,"redirect":true}}`},
		{"fork.state", "web", `{"service":"web","targets":["web-1:3000","web-2:3000"],"hosts":["app.test"],"path_prefixes":["/"],"strip_path_prefix":true,"forward_headers":true,"health_check_path":"/up","health_check_interval":"1s","health_check_timeout":"5s","deploy_timeout":"30s","drain_timeout":"30s","stream_timeout":"5s","target_timeout":"30s"}`},
	} {
		s := byName(t, fixture(t, c.file))[c.service]
		if s.Broken != "" {
			t.Errorf("%s: %s is broken: %s", c.file, c.service, s.Broken)
		}
		if got, _ := json.Marshal(s.Request); string(got) != c.want {
			t.Errorf("%s: %s is\n%s, and not\n%s", c.file, c.service, got, c.want)
		}
	}
}

func TestWhatIsHeldAndRolledOutIsTakenOver(t *testing.T) {
	t.Parallel()
	all := byName(t, fixture(t, "0.9.2.state"))
	if h := all["web"].Hold; h == nil || h.Mode != api.Stopped || h.Message != "Back at noon" || h.Status != 503 {
		t.Errorf("web is held as %+v", h)
	}
	if h := all["api"].Hold; h == nil || h.Mode != api.Paused || h.MaxWait.String() != "20s" {
		t.Errorf("api is held as %+v", h)
	}
	r := all["shop"].Rollout
	if r == nil || r.By != "cookie:kamal-rollout" || r.Weight != 2500 || strings.Join(r.Values, ",") != "17,42" || strings.Join(r.Targets, ",") != "shop-2:80" {
		t.Errorf("the rollout of shop is %+v", r)
	}
	if all["shop"].Hold != nil || all["web"].Rollout != nil {
		t.Error("there is more than was saved")
	}
}

func TestWhatIsLeftOutIsNoted(t *testing.T) {
	t.Parallel()
	for service, want := range map[string]string{
		"web":  "its own error pages are left out until its next deploy",
		"shop": "left out are hosts that no client can ask for: shop.test:80",
	} {
		if notes := strings.Join(byName(t, fixture(t, "0.9.2.state"))[service].Notes, "\n"); !strings.Contains(notes, want) {
			t.Errorf("the notes of %s are %q", service, notes)
		}
	}
	if notes := strings.Join(byName(t, fixture(t, "fork.state"))["web"].Notes, "\n"); !strings.Contains(notes, "weight=3 of web-1:3000 is left out") {
		t.Errorf("the notes are %q", notes)
	}
}

func TestErrorPagesThatAreThereAreTakenOver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "503.html"), []byte("{{.Message}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	state, err := json.Marshal([]any{map[string]any{"name": "web", "active_targets": []string{"web:80"}, "options": map[string]any{"error_page_path": dir}}})
	if err != nil {
		t.Fatal(err)
	}
	if s := byName(t, state)["web"]; s.Request.ErrorPages != dir || len(s.Notes) > 0 {
		t.Errorf("%+v", s)
	}
}

func TestWhatCannotBeTakenOverIsABrokenService(t *testing.T) {
	t.Parallel()
	for state, want := range map[string]string{
		`[{"name":"web","active_targets":["web:80"],"options":{"hosts":["a b"]}}]`:                              "not a host name",
		`[{"name":"web","active_targets":[],"options":{"hosts":["a.test"]}}]`:                                   "at least one target",
		`[{"name":"web","active_targets":["web:80"],"options":{"hosts":7}}]`:                                    "cannot be read",
		`[{"name":"web","active_targets":["web:80"],"pause_controller":{"state":9}}]`:                           "not known",
		`[{"name":"web","active_targets":["web:80"],"options":{"hosts":["a.test"],"canonical_host":"b.test"}}]`: "canonical host",
	} {
		if s := byName(t, []byte(state))["web"]; !strings.Contains(s.Broken, want) {
			t.Errorf("%s: %q", state, s.Broken)
		}
	}
}

func TestNamesThatParachuteCannotHaveAreReplaced(t *testing.T) {
	t.Parallel()
	all := byName(t, []byte(`[{"name":"My App","active_targets":["a:80"]},{"name":"My/App","active_targets":["b:80"]},{"name":"","active_targets":["c:80"]},{"name":"../x","active_targets":["d:80"]}]`))
	for name, target := range map[string]string{"My-App": "a:80", "My-App-2": "b:80", "unnamed": "c:80", "x": "d:80"} {
		s := all[name]
		if s.Broken != "" || len(s.Request.Targets) != 1 || s.Request.Targets[0] != target || s.Request.Service != name || len(s.Notes) == 0 {
			t.Errorf("%s is %+v", name, s)
		}
	}
}

// TestTornStateLosesNoServiceThatItNames cuts a state file off at every byte.
func TestTornStateLosesNoServiceThatItNames(t *testing.T) {
	t.Parallel()
	state := fixture(t, "0.9.2.state")
	whole := len(strings.TrimRight(string(state), "\n"))
	for n := range whole {
		torn := state[:n]
		all, problem := servicesIn(torn)
		if problem == nil {
			t.Fatalf("cut off at byte %d, nothing is wrong with it", n)
		}
		for _, name := range []string{"web", "api", "shop"} {
			if !strings.Contains(string(torn), `{"name":"`+name+`"`) {
				continue
			}
			found := false
			for _, s := range all {
				found = found || s.Name == name
			}
			if !found {
				t.Fatalf("cut off at byte %d, %s is lost", n, name)
			}
		}
	}
	if _, problem := servicesIn(state[:whole]); problem != nil {
		t.Errorf("without the line end: %v", problem)
	}
}

func TestFilesThatAreNoStateAreRefused(t *testing.T) {
	t.Parallel()
	for state, want := range map[string]string{"": "is empty", "\n": "is empty", "{}": "no state", `{"version":2}`: "no state", "7": "no list", "PNG": "no state"} {
		if all, problem := servicesIn([]byte(state)); len(all) > 0 || problem == nil || !strings.Contains(problem.Error(), want) {
			t.Errorf("%q: %v, %v", state, all, problem)
		}
	}
	for _, state := range []string{"[]", "[]\n", "null"} {
		if all, problem := servicesIn([]byte(state)); len(all) > 0 || problem != nil {
			t.Errorf("%q: %v, %v", state, all, problem)
		}
	}
}

func FuzzState(f *testing.F) {
	for _, name := range []string{"0.9.2.state", "0.8.7.state", "0.7.state", "fork.state"} {
		b := fixture(f, name)
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
	for _, s := range []string{"", "null", "[]", "{}", `[null]`, `[{}]`, `[1]`, `{"version":1,"services":[{"name":"a"}]}`, `[{"name":"a"},{"name":"a"},{"name":"a-2"}]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, state []byte) {
		all, _ := servicesIn(state)
		seen := make(map[string]bool)
		for _, s := range all {
			if err := api.ValidateServiceName(s.Name); err != nil {
				t.Fatalf("%q: %v", s.Name, err)
			}
			if seen[s.Name] {
				t.Fatalf("%q is there twice", s.Name)
			}
			seen[s.Name] = true
			if s.Broken != "" {
				continue
			}
			spec, err := s.Request.Resolve()
			if err != nil {
				t.Fatalf("%s: %v", s.Name, err)
			}
			if spec.Service != s.Name {
				t.Fatalf("%s is deployed as %s", s.Name, spec.Service)
			}
			if s.Hold != nil {
				if err := s.Hold.Validate(); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}
