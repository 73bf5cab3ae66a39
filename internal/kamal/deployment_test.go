package kamal

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/cli"
	"github.com/parachute-proxy/parachute/internal/client"
)

// ran is how a command has ended, and what it has printed.
type ran struct {
	code     int
	out, err string
}

// command runs a command line that must come to its end without a proxy.
func command(t *testing.T, args ...string) ran {
	t.Helper()
	var out, errs bytes.Buffer
	result := ran{code: -1}
	env := &cli.Env{
		Args: args, In: strings.NewReader(""), Out: &cli.Stream{Writer: &out}, Err: &cli.Stream{Writer: &errs},
		Connect: func(string) (*client.Client, error) {
			return nil, &api.Error{Code: client.CodeUnreachable, Message: "asked for the proxy"}
		},
		Quit: func(code int) { result.code = code },
	}
	Execute(env, Command(env, nil, nil))
	result.out, result.err = out.String(), errs.String()
	return result
}

// quietEnv returns an Env that prints nowhere.
func quietEnv() *cli.Env {
	return &cli.Env{Out: &cli.Stream{Writer: io.Discard}, Err: &cli.Stream{Writer: io.Discard}}
}

// TestFieldsOfFlagsExist: a field that no deploy has would be ignored.
func TestFieldsOfFlagsExist(t *testing.T) {
	t.Parallel()
	fields := []string{"targets"} // which is no setting
	for _, s := range api.Settings() {
		fields = append(fields, s.Place())
	}
	for _, m := range mappings {
		if !slices.Contains(fields, m.field) {
			t.Errorf("--%s: there is no field %s", m.flag, m.field)
		}
	}
}

// TestEveryFlagIsASettingOrHasAnEffect holds the flags against the settings: a flag that is nowhere
// would be accepted and ignored.
func TestEveryFlagIsASettingOrHasAnEffect(t *testing.T) {
	t.Parallel()
	// These are for the command itself.
	handled := []string{"help", "tls", "tls-staging", "tls-acme-cache-path"}
	for _, m := range mappings {
		handled = append(handled, m.flag)
	}
	deploy, _, err := Command(quietEnv(), nil, nil).Find([]string{"deploy"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range flagNames(deploy) {
		if !slices.Contains(handled, name) {
			t.Errorf("--%s does nothing", name)
		}
	}
}

func flagNames(cmd *cobra.Command) (names []string) {
	for line := range strings.SplitSeq(cmd.Flags().FlagUsages(), "\n") {
		if _, flag, ok := strings.Cut(line, "--"); ok {
			names = append(names, strings.Fields(flag)[0])
		}
	}
	return names
}

// patchOf returns the deploy that flags ask for, as JSON.
func patchOf(t *testing.T, change func(*deployment)) map[string]any {
	t.Helper()
	d := newDeployment()
	d.service, d.targets = "app", []string{"web"}
	change(&d)
	p := d.patch()
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := api.ParsePatch(b); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	var all map[string]any
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestDeployOfKamalProxySaysEverything(t *testing.T) {
	t.Parallel()
	p := patchOf(t, func(*deployment) {})
	want := map[string]any{
		"service": "app", "reset": true, "stream_timeout": "5s", "strip_path_prefix": true, "scope_cookie_paths": false, "forward_headers": false,
		"health_check_path": "/up", "health_check_port": 0.0, "health_check_interval": "1s", "health_check_timeout": "5s",
		"deploy_timeout": "30s", "drain_timeout": "30s", "target_timeout": "30s", "force": false,
	}
	for name, value := range want {
		if p[name] != value {
			t.Errorf("%s is %v, and not %v", name, p[name], value)
		}
	}
	if targets, _ := json.Marshal(p["targets"]); string(targets) != `["web:80"]` {
		t.Errorf("targets are %s", targets)
	}
	if _, tls := p["tls"]; tls {
		t.Error("it has TLS")
	}
}

func TestValuesAreWhatKamalProxyTakesThemFor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*deployment)
		field  string
		want   string
	}{
		"a path without a slash":       {func(d *deployment) { d.healthPath = "up" }, "health_check_path", `"/up"`},
		"a path with dots":             {func(d *deployment) { d.healthPath = "/a/../up" }, "health_check_path", `"/up"`},
		"a prefix without slashes":     {func(d *deployment) { d.pathPrefixes = []string{"api", "/v1/"} }, "path_prefixes", `["/api","/v1"]`},
		"the empty host":               {func(d *deployment) { d.hosts = []string{""} }, "hosts", `null`},
		"a target with a port":         {func(d *deployment) { d.targets = []string{"a:1", "b"} }, "targets", `["a:1","b:80"]`},
		"TLS without waiting":          {func(d *deployment) { d.tls, d.hosts = true, []string{"a.test"} }, "tls", `{"redirect":true,"wait":false}`},
		"a certificate":                {func(d *deployment) { d.tls, d.certificatePath, d.keyPath, d.tlsRedirect = true, "/c", "/k", false }, "tls", `{"certificate_path":"/c","private_key_path":"/k","redirect":false,"wait":false}`},
		"a limit with buffering":       {func(d *deployment) { d.bufferRequests, d.maxRequestBody = true, 10 }, "max_body", `"10"`},
		"memory for buffering":         {func(d *deployment) { d.bufferResponses, d.bufferMemory = true, 2048 }, "buffer_memory", `"2048"`},
		"a reader":                     {func(d *deployment) { d.readTargets = []string{"r"} }, "read_targets", `["r:80"]`},
		"affinity with a reader":       {func(d *deployment) { d.readTargets, d.writerAffinity = []string{"r"}, 0 }, "writer_affinity", `"0s"`},
		"fields to log":                {func(d *deployment) { d.logRequestHeaders = []string{"A"} }, "log_request_headers", `["A"]`},
		"a limit without buffering":    {func(d *deployment) { d.maxRequestBody, d.maxResponseBody = 10, 10 }, "max_body", `null`},
		"affinity without readers":     {func(d *deployment) { d.writerAffinity, d.readTargetWebSockets = 0, true }, "writer_affinity", `null`},
		"memory without any buffering": {func(d *deployment) { d.bufferMemory = 1 }, "buffer_memory", `null`},
	} {
		if got, _ := json.Marshal(patchOf(t, c.change)[c.field]); string(got) != c.want {
			t.Errorf("%s: %s is %s, and not %s", name, c.field, got, c.want)
		}
	}
}

func TestErrorsAreOneLineInTheWordsOfKamalProxy(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"deploy app": `Error: required flag(s) "target" not set`,
		"deploy":     "Error: accepts 1 arg(s), received 0",
		"deploy app --target=web --max-request-body=1":      "Error: max-request-body can only be set when request buffering is enabled",
		"deploy app --target=web --max-response-body=1":     "Error: max-response-body can only be set when response buffering is enabled",
		"deploy app --target=web --tls-certificate-path=/c": "Error: if any flags in the group [tls-certificate-path tls-private-key-path] are set they must all be set; missing [tls-private-key-path]",
		"deploy app --target=web --tls-on-demand-url=/ask":  "Error: service options invalid: TLS must be enabled to use a TLS on-demand URL",
		"deploy app --target=web --drain-timeout=x":         `Error: invalid argument "x" for "--drain-timeout" flag: time: invalid duration "x"`,
		"rollout set app":               "Error: at least one of the flags in the group [percent list] is required",
		"rollout set app --percent=101": "Error: percent must be from 0 to 100, and is 101",
		"nothing":                       `Error: unknown command "nothing" for "kamal-proxy"`,
		"deploy app --target=web --tls --tls-redirect=false --strip-path-prefix=false --forward-headers=false --force=false": "Error: asked for the proxy",
		"remove app": "Error: asked for the proxy",
	} {
		r := command(t, strings.Fields(line)...)
		if r.code != 1 || strings.TrimSpace(r.err) != want || r.out != "" {
			t.Errorf("%s: %+v", line, r)
		}
	}
}

func TestUnknownFlagNamesBothVersions(t *testing.T) {
	t.Parallel()
	r := command(t, "deploy", "app", "--target=web", "--idle=1m")
	if r.code != 1 || !strings.Contains(r.err, "unknown flag: --idle") || !strings.Contains(r.err, "kamal-proxy "+Grammar) || !strings.Contains(r.err, "this is parachute ") {
		t.Errorf("%+v", r)
	}
}

func TestLimitsWithoutBufferingAreToldToHaveNoEffect(t *testing.T) {
	t.Parallel()
	r := command(t, "deploy", "app", "--target=web", "--buffer-requests=false", "--max-request-body=100")
	if !strings.Contains(r.err, "Warning: --max-request-body has no effect with --buffer-requests=false") || !strings.Contains(r.err, "asked for the proxy") {
		t.Errorf("%+v", r)
	}
}

func TestStagingIsForTheWholeProxy(t *testing.T) {
	line := []string{"deploy", "app", "--target=web", "--host=a.test", "--tls", "--tls-staging"}
	if r := command(t, line...); r.code != 1 || !strings.Contains(r.err, "PARACHUTE_TLS_STAGING") {
		t.Errorf("%+v", r)
	}
	t.Setenv("PARACHUTE_TLS_STAGING", "true")
	if r := command(t, line...); !strings.Contains(r.err, "asked for the proxy") {
		t.Errorf("%+v", r)
	}
}

func TestListHasTheColumnsOfKamalProxy(t *testing.T) {
	t.Parallel()
	release := func(targets ...string) *api.ReleaseStatus {
		r := new(api.ReleaseStatus)
		for _, target := range targets {
			r.Targets = append(r.Targets, api.TargetStatus{Address: target})
		}
		return r
	}
	services := []api.ServiceStatus{
		{
			Name: "web", Hosts: []string{"a.test", "b.test"}, PathPrefixes: []string{"/"}, TLS: true, Active: release("web-1:80", "web-2:80"),
			Hold: &api.HoldStatus{Hold: api.Hold{Mode: api.Stopped}}, Candidate: release("web-3:80"), Rollout: &api.RolloutStatus{Weight: 2500, Values: []string{"x"}},
		},
		{Name: "all", Hosts: []string{}, PathPrefixes: []string{"/api"}, Active: release("api:80")},
		{Name: "lost", Broken: "for a reason"},
		{Name: "coming"},
	}
	var out strings.Builder
	if err := printTable(&out, rowsOf(services), false); err != nil {
		t.Fatal(err)
	}
	want := "" +
		"Service  Host           Path  Target             State    TLS  Rollout\n" +
		"all      *              /api  api:80             running  no\n" +
		"lost     *                                       broken   no\n" +
		"web      a.test,b.test  /     web-1:80,web-2:80  stopped  yes  25% and 1 listed: web-3:80\n"
	if out.String() != want {
		t.Errorf("it is\n%s", out.String())
	}
}
