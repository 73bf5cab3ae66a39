package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Bad input gets one clear sentence with the way out and the right exit code,
// and changes nothing.
func TestBadInputIsRefusedWithAWayOutAndChangesNothing(t *testing.T) {
	t.Parallel()
	p := startProxy(t)
	a := startApp(t, "a", nil)
	deploy(t, p, api.DeployRequest{Targets: []string{a.addr()}, Service: "shop", Hosts: []string{"shop.test"}})
	before := documents(t, p)

	for _, c := range []struct {
		args string
		code int
		want []string
	}{
		{"deploy", 2, []string{"at least one target", "parachute deploy web-1:3000"}},
		{"deploy web-1", 2, []string{`"web-1" has no port`, "web-1:3000"}},
		{"deploy 3000", 2, []string{"localhost:3000"}},
		{"deploy web:3000 --host=", 2, []string{"--host is given but empty", "variable"}},
		{"deploy web:3000 --service=", 2, []string{"--service is given but empty"}},
		{"deploy web-1:http", 2, []string{"a port is a number"}},
		{"deploy ::1:3000", 2, []string{"in brackets"}},
		{"deploy ftp://web:21", 2, []string{"scheme"}},
		{"deploy web:3000 web:3000", 2, []string{"named twice"}},
		{"deploy web:3000 --host app.test:80", 2, []string{"has a port"}},
		{"deploy web:3000 --host https://app.test", 2, []string{"has a scheme"}},
		{"deploy web:3000 --host a.*.test", 2, []string{"*.example.com"}},
		{"deploy web:3000 --path-prefix api", 2, []string{"write it as /api"}},
		{"deploy web:3000 --service ../etc", 2, []string{"is not a valid service name", "letters"}},
		{"deploy web:3000 --nonsense", 2, []string{"unknown flag: --nonsense", "deploy --help"}},
		{"deploy web:3000 --hsot a.test", 2, []string{"unknown flag: --hsot; did you mean --host?", "deploy --help"}},
		{"promote app.test", 2, []string{`unknown command "promote"; did you mean "rollout promote"?`}},
		{"deply web:3000", 2, []string{`unknown command "deply"; did you mean "deploy"?`}},
		{"deploy web:3000 --lb foo", 2, []string{`unknown load balancing "foo"; use least_conn or round_robin`}},
		{"deploy web:3000 --host a.test --tls auto", 2, []string{`"auto" was taken as a target`, "write --tls=auto"}},
		{"deploy web:3000 --strip-path-prefix false", 2, []string{`"false" was taken as a target`, "write --strip-path-prefix=false"}},
		{"deploy --tls true web:3000 --host a.test", 2, []string{"write --tls=true"}},
		{"deploy web:3000 auto --tls", 2, []string{`"auto" has no port`}},
		{"run --htpt-port 80", 1, []string{"did you mean --http-port?"}},
		{"lst --hsot a.test", 2, []string{"unknown flag: --hsot"}},
		{"deploy web:3000 --drain-timeout 5", 2, []string{"is not a duration", "30s"}},
		{"deploy web:3000 --drain-timeout -1s", 2, []string{"out of range"}},
		{"deploy web:3000 --deploy-timeout 900000h", 2, []string{"out of range"}},
		{"deploy web:3000 --health-check-interval 0s", 2, []string{"out of range"}},
		{"deploy web:3000 --health-check-path up", 2, []string{"begin it with a slash"}},
		{"deploy web:3000 --health-check-port 70000", 2, []string{"1 to 65535"}},
		{"deploy web:3000 --health-check-port web", 2, []string{`--health-check-port: "web" is not a number`}},
		{"deploy web:3000 --health-check-port 99999999999999999999", 2, []string{`--health-check-port: "99999999999999999999" is out of range`}},
		{"deploy web:3000 --sticky=perhaps", 2, []string{`--sticky: "perhaps" is not true or false`}},
		{`deploy web:3000 --host a"b`, 2, []string{"--host: ", "is not a list"}},
		{"deploy web:3000 --output xml", 2, []string{"text or json"}},
		{"deploy " + a.addr() + " --service other --host shop.test", 4, []string{"belongs to the service shop", "use --service shop instead of --service other, and leave out --host", "parachute remove shop"}},
		{
			"deploy 127.0.0.1:1 --service shop --host shop.test --deploy-timeout 300ms", 3,
			[]string{"was not healthy within 300ms", "shop v1 still serves all traffic", "connection refused", "hint: "},
		},
		{"deploy 127.0.0.1:1 --service fresh --host fresh.test --deploy-timeout 100ms", 3, []string{"fresh serves nothing yet"}},
		{"status nothing", 5, []string{"there is no service nothing", "shop"}},
		{"remove nothing", 5, []string{"there is no service nothing"}},
		{"remove", 2, []string{"the name of one service"}},
		{"list extra", 5, []string{"there is no service extra"}},
		{"status two services", 2, []string{"hint: "}},
		{"depoly web:3000", 2, []string{`unknown command "depoly"`, `"deploy"`}},
		{"list --admin unix//nowhere/admin.sock", 6, []string{"no proxy answers", "parachute run"}},
		{"list --admin " + p.Addr(), 6, []string{"has no parachute API", "--admin"}},
		{"list --admin nonsense", 2, []string{"unix//run/parachute/admin.sock"}},
		{"run --admin unix/" + p.Dir + "/x.sock|0666", 1, []string{"every user of the machine"}},
		{"run --http-port 80000", 1, []string{"1 to 65535"}},
		{"run --http-port 0 --https-port 0", 1, []string{"nothing to serve"}},
		{"run --trusted-proxies nonsense", 1, []string{"CIDR"}},
		{"run --nonsense", 1, []string{"unknown flag: --nonsense"}},
		{"run --bind nonsense", 1, []string{"IP address"}},
		{"run --admin :2019", 1, []string{"control the proxy", "loopback"}},
		{
			"run --config /nowhere/Caddyfile --http-port 0 --https-port 8443 --admin unix/" + p.Dir + "/x.sock --storage " + p.Dir + "/x", 1,
			[]string{"/nowhere/Caddyfile"},
		},
	} {
		t.Run(c.args, func(t *testing.T) {
			r := run(t, p, strings.Fields(c.args)...)
			if r.Code != c.code {
				t.Errorf("exit code %d, want %d", r.Code, c.code)
			}
			for _, want := range append(c.want, "error: ") {
				if !strings.Contains(r.Stderr, want) {
					t.Errorf("the message lacks %q:\n%s", want, r.Stderr)
				}
			}
			if r.Stdout != "" {
				t.Errorf("something is on standard output: %q", r.Stdout)
			}
		})
	}
	if after := documents(t, p); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the state has changed:\n%v", after)
	}
	if s := services(t, p); len(s) != 1 || s[0].Active.Release != 1 {
		t.Errorf("the services have changed: %+v", s)
	}
}

// A script that asks for JSON need not read what is for people: the last line of standard
// output has an error, and its code, if the command failed.
func TestFailuresAreJSONOnStandardOutputToo(t *testing.T) {
	t.Parallel()
	p := startProxy(t)
	a := startApp(t, "a", nil)
	deploy(t, p, api.DeployRequest{Targets: []string{a.addr()}, Service: "shop", Hosts: []string{"shop.test"}})
	for _, c := range []struct {
		args string
		code api.Code
		hint string
	}{
		{"deploy " + a.addr() + " --service other --host shop.test", api.CodeRouteConflict, "use --service shop"},
		{"deploy " + a.addr() + " --service other --host shop.test --detach", api.CodeRouteConflict, "use --service shop"},
		{"deploy web", api.CodeInvalid, ""},
		{"deploy", api.CodeInvalid, "deploy --help"},
		{"deploy web:3000 --hsot a.test", api.CodeInvalid, "deploy --help"},
		{"depoly web:3000", api.CodeInvalid, "parachute --help"},
		{"deploy 127.0.0.1:1 --service shop --host shop.test --deploy-timeout 50ms", api.CodeNotHealthy, ""},
		{"deploy 127.0.0.1:1 --service shop --host shop.test --deploy-timeout 50ms -q", api.CodeNotHealthy, ""},
		{"status nothing", api.CodeNotFound, "shop"},
		{"remove nothing", api.CodeNotFound, "shop"},
		{"remove", api.CodeInvalid, "remove --help"},
		{"list --admin unix//nowhere/admin.sock", "unreachable", "parachute run"},
		{"list -q --admin unix//nowhere/admin.sock", "unreachable", "parachute run"},
		{"version extra", api.CodeInvalid, "version --help"},
	} {
		for _, args := range [][]string{
			append(strings.Fields(c.args), "--output", "json"),
			slices.Insert(strings.Fields(c.args), 1, "-o", "json"),
		} {
			text, r := run(t, p, strings.Fields(c.args)...), run(t, p, args...)
			lines := strings.Split(strings.TrimSpace(r.Stdout), "\n")
			var last struct{ Error api.Error }
			if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
				t.Errorf("%v: %v: %q", args, err, r.Stdout)
				continue
			}
			if last.Error.Code != c.code || last.Error.Message == "" || !strings.Contains(last.Error.Hint, c.hint) || strings.Count(r.Stdout, `"message"`) != 1 {
				t.Errorf("%v prints %s", args, r.Stdout)
			}
			if r.Code != text.Code || !strings.HasPrefix(r.Stderr, "error: "+last.Error.Message) {
				t.Errorf("%v: %d, want %d: %s", args, r.Code, text.Code, r.Stderr)
			}
		}
	}
	if r := run(t, p, "run", "-o", "json"); r.Code != 1 || r.Stdout != "" {
		t.Errorf("run, which knows no JSON, prints %q", r.Stdout)
	}
}

func TestBadBodiesAreRefused(t *testing.T) {
	p := startProxy(t)
	for name, c := range map[string]struct {
		body, want string
	}{
		"empty":         {"", "it is empty"},
		"not JSON":      {"nonsense", "not a valid request"},
		"unknown field": {`{"targets":["a:1"],"colour":"red"}`, "colour"},
		"wrong type":    {`{"targets":"a:1"}`, "not a valid request"},
		"a number":      {`{"targets":["a:1"],"drain_timeout":30}`, "is not a duration"},
		"two values":    {`{"targets":["a:1"]}{}`, "more than one"},
		"10 MB":         {`{"targets":["` + strings.Repeat("a", 10<<20) + `"]}`, "larger than"},
		"other service": {`{"service":"b","targets":["a:1"]}`, "names the service b"},
	} {
		t.Run(name, func(t *testing.T) {
			resp, err := p.HTTP().Post("http://localhost/parachute/services/a/deployments", "application/json", strings.NewReader(c.body))
			must(t, err)
			defer resp.Body.Close()
			answer, err := io.ReadAll(resp.Body)
			must(t, err)
			var failure struct{ Error api.Error }
			must(t, json.Unmarshal(answer, &failure))
			if resp.StatusCode != http.StatusBadRequest || failure.Error.Code != api.CodeInvalid || !strings.Contains(failure.Error.Message, c.want) {
				t.Errorf("%s: %s", resp.Status, answer)
			}
		})
	}
	if s := services(t, p); len(s) != 0 {
		t.Errorf("there are %d services", len(s))
	}
}

func TestDeployTellsItsStory(t *testing.T) {
	p := startProxy(t)
	a, b := startApp(t, "a", nil), startApp(t, "b", nil)
	r := run(t, p, "deploy", a.addr(), "--host", "APP.test.", "--health-check-path", "/up?full=1")
	if r.Code != 0 || r.Stdout != "app.test v1 is live\n" {
		t.Fatalf("%d %q %s", r.Code, r.Stdout, r.Stderr)
	}
	r = run(t, p, "deploy", b.addr(), "--host", "app.test", "--health-check-path", "/up")
	for _, want := range []string{b.addr() + " healthy", "switched v1 -> v2", "changed health-check-path: /up?full=1 -> /up", "drained " + a.addr()} {
		if !strings.Contains(r.Stderr, want) {
			t.Errorf("the story lacks %q:\n%s", want, r.Stderr)
		}
	}
	if strings.Contains(r.Stderr, "\x1b") {
		t.Errorf("there are terminal escapes in what goes to no terminal: %q", r.Stderr)
	}
	if r := run(t, p, "deploy", a.addr(), "--host", "app.test", "-q"); r.Stdout+r.Stderr != "" {
		t.Errorf("-q prints %q", r.Stdout+r.Stderr)
	}

	r = run(t, p, "deploy", a.addr(), "--host", "app.test", "--force")
	if !strings.Contains(r.Stderr, " - not checking "+a.addr()) || strings.Contains(r.Stderr, "waiting") {
		t.Errorf("a forced deploy waits: %s", r.Stderr)
	}

	r = run(t, p, "deploy", b.addr(), "--host", "app.test", "--output", "json")
	lines := strings.Split(strings.TrimSpace(r.Stdout), "\n")
	var kinds []string
	for _, line := range lines[:len(lines)-1] {
		var ev api.Event
		must(t, json.Unmarshal([]byte(line), &ev))
		kinds = append(kinds, string(ev.Kind))
	}
	if got := strings.Join(kinds, " "); !strings.HasPrefix(got, "accepted healthy switched draining") || !strings.HasSuffix(got, "drained") {
		t.Errorf("the events are: %s", got)
	}
	var final api.DeploymentStatus
	must(t, json.Unmarshal([]byte(lines[len(lines)-1]), &final))
	if final.State != api.StateDone || final.Release != 5 {
		t.Errorf("the final object is %+v", final)
	}
}

func TestListAndStatusShowWhatServes(t *testing.T) {
	p := startProxy(t)
	if r := run(t, p, "list"); r.Code != 0 || !strings.Contains(r.Stderr, "nothing is deployed yet") {
		t.Errorf("an empty list: %d %q", r.Code, r.Stderr)
	}
	a := startApp(t, "a", nil)
	deploy(t, p, api.DeployRequest{Targets: []string{a.addr()}, Hosts: []string{"a.test"}, PathPrefixes: []string{"/x"}})
	for _, args := range [][]string{{"list"}, {"ls"}, {"status"}, {"status", "a.test"}} {
		r := run(t, p, args...)
		for _, want := range []string{"a.test", "a.test/x", "v1", a.addr(), "healthy"} {
			if r.Code != 0 || !strings.Contains(r.Stdout, want) {
				t.Errorf("%v lacks %q: %d\n%s%s", args, want, r.Code, r.Stdout, r.Stderr)
			}
		}
	}
	var one api.ServiceStatus
	must(t, json.Unmarshal([]byte(run(t, p, "status", "a.test", "--output", "json").Stdout), &one))
	if one.Name != "a.test" || one.Active.Targets[0].Health != api.HealthHealthy {
		t.Errorf("status as JSON: %+v", one)
	}
}

// Without a caller, nobody else is told.
func TestStatusTellsWhyADetachedDeployFailed(t *testing.T) {
	p := startProxy(t)
	a := startApp(t, "a", nil)
	deploy(t, p, api.DeployRequest{Targets: []string{a.addr()}, Service: "shop"})
	detach := func(args ...string) string {
		t.Helper()
		r := run(t, p, append(append([]string{"deploy"}, args...), "--detach")...)
		fields := strings.Fields(r.Stdout)
		if r.Code != 0 || len(fields) != 4 {
			t.Fatalf("%d %q %s", r.Code, r.Stdout, r.Stderr)
		}
		id := fields[3]
		waitFor(t, "the deployment to end", func() bool {
			var d api.DeploymentStatus
			resp, err := p.HTTP().Get("http://localhost/parachute/deployments/" + id)
			must(t, err)
			defer resp.Body.Close()
			must(t, json.NewDecoder(resp.Body).Decode(&d))
			return d.State.Final()
		})
		return id
	}
	id := detach("127.0.0.1:1", "--service", "shop", "--deploy-timeout", "50ms")
	r := run(t, p, "status", "shop")
	for _, want := range []string{"last deployment", id + " failed ", "s ago: 127.0.0.1:1 was not healthy within 50ms: connection refused ("} {
		if r.Code != 0 || !strings.Contains(r.Stdout, want) {
			t.Errorf("the status lacks %q: %d %s%s", want, r.Code, r.Stdout, r.Stderr)
		}
	}
	var s api.ServiceStatus
	must(t, json.Unmarshal([]byte(run(t, p, "status", "shop", "-o", "json").Stdout), &s))
	if s.FailedDeployment == nil || s.FailedDeployment.ID != id || s.FailedDeployment.Error.Code != api.CodeNotHealthy {
		t.Errorf("as JSON: %+v", s.FailedDeployment)
	}
	detach(a.addr(), "--service", "shop")
	if r := run(t, p, "status", "shop"); strings.Contains(r.Stdout, "last deployment") {
		t.Errorf("after a deploy that succeeded: %s", r.Stdout)
	}
	id = detach("127.0.0.1:1", "--service", "fresh", "--host", "fresh.test", "--deploy-timeout", "50ms")
	r = run(t, p, "status", "fresh")
	if r.Code != 5 || !strings.Contains(r.Stderr, "its last deployment, "+id+", failed: 127.0.0.1:1 was not healthy within 50ms") ||
		!strings.Contains(r.Stderr, "connection refused") {
		t.Errorf("of a service that never came to be: %d %s", r.Code, r.Stderr)
	}
}

func TestFlagsComeFromTheEnvironmentToo(t *testing.T) {
	p := startProxy(t)
	a := startApp(t, "a", nil)
	cmd, err := p.Command("deploy", a.addr())
	must(t, err)
	cmd.Env = append(cmd.Env, "PARACHUTE_SERVICE=from-env", "PARACHUTE_HOST=one.test,two.test")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "from-env v1 is live") {
		t.Fatalf("%v %s", err, out)
	}
	if s := services(t, p)[0]; strings.Join(s.Hosts, " ") != "one.test two.test" {
		t.Errorf("the hosts are %v", s.Hosts)
	}
	cmd, err = p.Command("deploy", a.addr())
	must(t, err)
	cmd.Env = append(cmd.Env, "PARACHUTE_DRAIN_TIMEOUT=soon")
	if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), "PARACHUTE_DRAIN_TIMEOUT") {
		t.Errorf("%d %s", cmd.ProcessState.ExitCode(), out)
	}
}

// A STORAGE=s3://backup of another program once started a proxy with an empty state.
func TestVariablesOfOtherProgramsDoNotMoveTheState(t *testing.T) {
	p := newProxy(t)
	a := startApp(t, "a", nil)
	var log bytes.Buffer
	runWith := func(variables ...string) (stop func()) {
		t.Helper()
		// No flag wins over the environment.
		cmd, err := p.Command("run", "--bind", "127.0.0.1", "--http-port", itoa(p.HTTPPort), "--https-port", "0")
		must(t, err)
		cmd.Env, cmd.Stderr = append(cmd.Env, variables...), &log
		must(t, cmd.Start())
		waitFor(t, "the proxy", func() bool { _, err := p.Services(); return err == nil })
		return func() {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			_ = cmd.Wait()
		}
	}
	stop := runWith("STORAGE=s3://backup", "CONFIG=/etc/other", "ACCESS_LOG=1", "TRUSTED_PROXIES=\"10.0.0.0/8", "METRICS_PORT=tcp://10.0.0.1:9090")
	deploy(t, p, to(a))
	stop()
	stop = runWith()
	_, body := get(t, p, "", "/")
	stop()
	if body != "a" {
		t.Errorf("what was deployed does not serve after a start without the variables: %s", body)
	}
	if strings.Contains(log.String(), "warning: ") {
		t.Errorf("it warns of what it does not read: %s", &log)
	}
}

func TestRunTakesPlainEnvironmentVariablesToo(t *testing.T) {
	p := newProxy(t)
	for variable, want := range map[string]string{
		"HTTP_PORT=99999":           "--http-port has its value from the environment variable HTTP_PORT",
		"PARACHUTE_HTTP_PORT=99999": "--http-port has its value from the environment variable PARACHUTE_HTTP_PORT",
		"PARACHUTE_HTTP_PORT=web":   `environment variable PARACHUTE_HTTP_PORT: "web" is not a number`,
		"NO_COLOR=yes":              "--bind",
		// The defaults stay.
		"DEBUG=express:*":             "warning: the environment variable DEBUG has no valid value for --debug and is ignored\nerror: --bind",
		"HTTP_PORT=tcp://10.0.0.1:80": "warning: the environment variable HTTP_PORT has no valid value for --http-port and is ignored\nerror: --bind",
	} {
		cmd, err := p.Command("run", "--https-port", "0", "--bind", "nonsense")
		must(t, err)
		cmd.Env = append(cmd.Env, variable)
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), want) || strings.Contains(string(out), "warning") != strings.HasPrefix(want, "warning") {
			t.Errorf("%s: %d %s", variable, cmd.ProcessState.ExitCode(), out)
		}
	}
}

func TestCompletionKnowsCommandsFlagsAndLiveServices(t *testing.T) {
	p := startProxy(t)
	a := startApp(t, "a", nil)
	deploy(t, p, api.DeployRequest{Targets: []string{a.addr()}, Service: "shop"})
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"__complete", "de"}, "deploy\t"},
		{[]string{"__complete", "deploy", "--health-check-p"}, "--health-check-path\t"},
		{[]string{"__complete", "status", ""}, "shop\n"},
		{[]string{"__complete", "remove", "sh"}, "shop\n"},
		{[]string{"__complete", "deploy", "--service", ""}, "shop\n"},
		{[]string{"completion", "bash"}, "__start_parachute"},
	} {
		if r := run(t, p, c.args...); r.Code != 0 || !strings.Contains(r.Stdout, c.want) {
			t.Errorf("%v: %d %s", c.args, r.Code, tail(r.Stdout, 500))
		}
	}
}
