package handlers

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/proxy"
)

// hashOfHiccup is of the password hiccup, by bcrypt.
const hashOfHiccup = "$2a$04$yR6tWXCi16GOg2Qpx3UGKuv1l94Ck9Q4JJGEs9p9BY5cfirFnXJ3C"

// passSettings has a request pass what settings ask for, and returns the answer, errors
// included.
func passSettings(t *testing.T, h *Host, r api.DeployRequest, req *http.Request, app http.HandlerFunc) *httptest.ResponseRecorder {
	t.Helper()
	r.Targets = []string{"web:1"}
	s, err := r.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	adapted, err := h.Adapt("web", &s.Options)
	if err != nil {
		t.Fatal(err)
	}
	c, err := h.Compile("web", adapted)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if app == nil {
		app = func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprint(w, "app got ", r.RequestURI) }
	}
	w, err := pass(c, req, func(w http.ResponseWriter, r *http.Request) error {
		app(w, r)
		return nil
	})
	if refusal, ok := errors.AsType[*proxy.HandlerError](err); ok {
		w.WriteHeader(refusal.Status)
	} else if err != nil {
		t.Fatal(err)
	}
	return w
}

func request(path string, header ...string) *http.Request {
	r := httptest.NewRequest("GET", path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func TestSettingsBecomeHandlers(t *testing.T) {
	h := newHost(t, None) // which is about directives
	auth := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/check" || r.URL.RawQuery != "a=b" || r.Header.Get("X-Forwarded-Uri") == "" {
			t.Errorf("asked is %s with %v", r.URL, r.Header)
		}
		if r.Header.Get("Cookie") == "" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		w.Header().Set("Remote-User", "ada")
	}))
	defer auth.Close()
	upstream := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Server", "app")
		w.Header().Add("X-Frame-Options", "app's own")
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, strings.Repeat("a", 2000))
	}
	for name, tt := range map[string]struct {
		settings api.DeployRequest
		request  *http.Request
		app      http.HandlerFunc
		status   int
		body     string
		header   [2]string
	}{
		"header":              {settings: api.DeployRequest{Headers: []string{"X-Frame-Options: DENY", "-Server"}}, request: request("/"), app: upstream, header: [2]string{"X-Frame-Options", "[DENY]"}},
		"header removed":      {settings: api.DeployRequest{Headers: []string{"-Server"}}, request: request("/"), app: upstream, header: [2]string{"Server", "[]"}},
		"header of an error":  {settings: api.DeployRequest{Headers: []string{"X-A: b, c"}, AllowIP: []string{"10.0.0.0/8"}}, request: request("/"), status: 403, header: [2]string{"X-A", "[b, c]"}},
		"removed of a 401":    {settings: api.DeployRequest{Headers: []string{"X-A: b", "-Www-*"}, BasicAuth: []string{"bob:" + hashOfHiccup}}, request: request("/"), status: 401, header: [2]string{"Www-Authenticate", "[]"}},
		"removed of a page":   {settings: api.DeployRequest{Headers: []string{"-X-Page"}, DenyIP: []string{"192.0.2.1"}, With: "handle_errors {\n\theader X-Page a\n\trespond sorry\n}"}, request: request("/"), status: 403, body: "sorry", header: [2]string{"X-Page", "[]"}},
		"removed of some":     {settings: api.DeployRequest{BasicAuth: []string{"bob:" + hashOfHiccup}, With: "header /x -Www-Authenticate"}, request: request("/"), status: 401, header: [2]string{"Www-Authenticate", `[Basic realm="restricted"]`}},
		"hsts":                {settings: api.DeployRequest{HSTS: "max-age=5"}, request: request("https://a.test/"), header: [2]string{"Strict-Transport-Security", "[max-age=5]"}},
		"hsts behind another": {settings: api.DeployRequest{HSTS: "max-age=5"}, request: request("/", "X-Forwarded-Proto", "https"), header: [2]string{"Strict-Transport-Security", "[max-age=5]"}},
		"no hsts over http":   {settings: api.DeployRequest{HSTS: "max-age=5"}, request: request("/"), header: [2]string{"Strict-Transport-Security", "[]"}},
		"denied":              {settings: api.DeployRequest{DenyIP: []string{"192.0.2.0/24", "2001:db8::1"}}, request: request("/"), status: 403},
		"not denied":          {settings: api.DeployRequest{DenyIP: []string{"192.0.3.0/24"}}, request: request("/"), body: "app got /"},
		"allowed":             {settings: api.DeployRequest{AllowIP: []string{"192.0.2.1"}}, request: request("/"), body: "app got /"},
		"not allowed":         {settings: api.DeployRequest{AllowIP: []string{"192.0.2.2"}}, request: request("/"), status: 403},
		"denied all the same": {settings: api.DeployRequest{AllowIP: []string{"192.0.2.0/24"}, DenyIP: []string{"192.0.2.1"}}, request: request("/"), status: 403},
		"redirect":            {settings: api.DeployRequest{Redirects: []string{"/a /b 301", "/old/* https://b.test{uri}"}}, request: request("/old/x?y"), status: 302, header: [2]string{"Location", "[https://b.test/old/x?y]"}},
		"first redirect":      {settings: api.DeployRequest{Redirects: []string{"/a /b 301", "/a /c"}}, request: request("/a"), status: 301, header: [2]string{"Location", "[/b]"}},
		"no redirect":         {settings: api.DeployRequest{Redirects: []string{"/a /b"}}, request: request("/ab"), body: "app got /ab"},
		"no password":         {settings: api.DeployRequest{BasicAuth: []string{"bob:" + hashOfHiccup}}, request: request("/"), status: 401, header: [2]string{"Www-Authenticate", `[Basic realm="restricted"]`}},
		"password":            {settings: api.DeployRequest{BasicAuth: []string{"bob:" + hashOfHiccup}}, request: request("/", "Authorization", "Basic Ym9iOmhpY2N1cA=="), body: "app got /"},
		"wrong password":      {settings: api.DeployRequest{BasicAuth: []string{"bob:" + hashOfHiccup}}, request: request("/", "Authorization", "Basic Ym9iOmhpY2N1Yg=="), status: 401},
		"gateway refuses":     {settings: api.DeployRequest{ForwardAuth: auth.URL + "/check?a=b"}, request: request("/x"), status: 418},
		"gateway lets pass": {
			settings: api.DeployRequest{ForwardAuth: auth.URL + "/check?a=b", ForwardAuthHeaders: []string{"Remote-User", "Remote-Groups"}},
			request:  request("/x", "Cookie", "a=b", "Remote-User", "root", "Remote-Groups", "admins"),
			app: func(w http.ResponseWriter, r *http.Request) {
				_, _ = fmt.Fprint(w, r.URL.Path, r.Header["Remote-User"], r.Header["Remote-Groups"])
			}, body: "/x[ada] []",
		},
		"gateway is away": {settings: api.DeployRequest{ForwardAuth: "http://127.0.0.1:1/"}, request: request("/"), status: 502},
		"compressed":      {settings: api.DeployRequest{Compress: true}, request: request("/", "Accept-Encoding", "gzip"), app: upstream, header: [2]string{"Content-Encoding", "[gzip]"}},
		"not compressed":  {settings: api.DeployRequest{Compress: true}, request: request("/"), app: upstream, header: [2]string{"Content-Encoding", "[]"}},
		"rewritten":       {settings: api.DeployRequest{Rewrites: []string{"/a/* /v2{uri}", "/a/b /c"}}, request: request("/a/b?c"), body: "app got /v2/a/b?c"},
		"with directives": {settings: api.DeployRequest{Rewrites: []string{"/a /b"}, With: "respond /b \"{path}\""}, request: request("/a"), body: "/b"},
	} {
		t.Run(name, func(t *testing.T) {
			host := h
			if tt.settings.With != "" {
				host = newHost(t, Safe)
			}
			w := passSettings(t, host, tt.settings, tt.request, tt.app)
			if want := max(tt.status, 200); tt.status == 0 && w.Code != 200 || tt.status != 0 && w.Code != want {
				t.Errorf("status %d, want %d", w.Code, want)
			}
			if tt.body != "" && w.Body.String() != tt.body {
				t.Errorf("the answer is %q, want %q", w.Body, tt.body)
			}
			if tt.header[0] != "" && fmt.Sprint(w.Header()[tt.header[0]]) != tt.header[1] {
				t.Errorf("%s is %v, want %s", tt.header[0], w.Header()[tt.header[0]], tt.header[1])
			}
		})
	}
}

// TestConnectionsToTheGatewayEndWithTheHandlers of a release, for each deploy would leave some.
func TestConnectionsToTheGatewayEndWithTheHandlers(t *testing.T) {
	closed := make(chan struct{}, 1)
	auth := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }))
	auth.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			closed <- struct{}{}
		}
	}
	auth.Start()
	defer auth.Close()
	passSettings(t, newHost(t, None), api.DeployRequest{ForwardAuth: auth.URL + "/check"}, request("/"), nil) // and closes the chain
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Error("the connection is open")
	}
}

// TestAddressesOfIPv4AreTheSameInIPv6, as a proxy in front may write them.
func TestAddressesOfIPv4AreTheSameInIPv6(t *testing.T) {
	h := newHost(t, None)
	for _, tt := range []struct {
		list, client string
		in           bool
	}{
		{"9.9.9.9", "::ffff:9.9.9.9", true},
		{"9.9.9.0/24", "::ffff:9.9.9.7", true},
		{"9.9.9.0/24", "::ffff:9.9.8.7", false},
		{"0.0.0.0/0", "::ffff:1.2.3.4", true},
		{"0.0.0.0/0", "2001:db8::1", false},
		{"::ffff:9.9.9.9", "9.9.9.9", true},
		{"::ffff:9.9.9.0/120", "9.9.9.1", true},
		{"::ffff:9.9.9.0/120", "::ffff:9.9.9.1", true},
		{"::/0", "2001:db8::1", true},
		{"2001:db8::1", "2001:db8::1", true},
	} {
		for _, deny := range []bool{true, false} {
			settings := api.DeployRequest{AllowIP: []string{tt.list}}
			if deny {
				settings = api.DeployRequest{DenyIP: []string{tt.list}}
			}
			r := request("/")
			r.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(tt.client), 1).String()
			if w := passSettings(t, h, settings, r, nil); (w.Code == 403) != (tt.in == deny) {
				t.Errorf("%s with %+v: status %d", tt.client, settings, w.Code)
			}
		}
	}
}

// TestSettingsDoNotLeadOutOfTheirDirective, whatever is in them.
func TestSettingsDoNotLeadOutOfTheirDirective(t *testing.T) {
	h := newHost(t, None)
	for _, r := range []api.DeployRequest{
		{Headers: []string{"X-A: {env.HOME}"}},
		{Headers: []string{"X-A: {file./etc/passwd}"}},
		{Redirects: []string{"/a {env.HOME}"}},
		{Rewrites: []string{"/a /{file./etc/passwd}"}},
	} {
		r.Targets = []string{"web:1"}
		s, err := r.Resolve()
		if err == nil {
			_, err = h.Adapt("web", &s.Options)
		}
		if api.ErrorCode(err) != api.CodeInvalid {
			t.Errorf("%+v: %v", r, err)
		}
	}
	for _, v := range []string{"X-A: @b", "X-A: /b", "X-A: `", "X-A: \"", "X-A: # b", "X-A: <<END", "X-A: a b c { d", "@x: a", "X-A: -b", "X-A: b\\"} {
		r := api.DeployRequest{Headers: []string{v}}
		if _, _, err := api.ParseHeaderField(v); err != nil {
			continue
		}
		w := passSettings(t, h, r, request("/"), nil)
		name, value, _ := strings.Cut(v, ": ")
		if got := w.Header().Get(name); got != value {
			t.Errorf("%q: the field is %q", v, got)
		}
	}
}

func TestRateLimitNeedsThePlugin(t *testing.T) {
	h := newHost(t, Safe)
	_, err := h.Adapt("web", &api.Options{RateLimit: "100/1m"})
	if api.ErrorCode(err) != api.CodeInvalid || !strings.Contains(err.Error(), "github.com/mholt/caddy-ratelimit") {
		t.Errorf("without the plugin: %v", err)
	}
	for with, line := range map[string]int{"encode\nrate_limit {\n}": 2, "handle {\n\tencode\n\trate_limit {\n\t}\n}": 3} {
		_, err := adapt(newHost(t, Safe), with)
		refusal, _ := errors.AsType[*api.Error](err)
		want := fmt.Sprintf("`with`, line %d: unrecognized directive: rate_limit, which needs a plugin of Caddy's that this program does not have", line)
		if refusal == nil || !strings.HasPrefix(refusal.Message, want) || !strings.Contains(refusal.Hint, "docs/HANDLERS.md") {
			t.Errorf("%q: %v", with, err)
		}
	}
}

// TestZonesBelongToTheirService: those of one name would share their counts.
func TestZonesBelongToTheirService(t *testing.T) {
	a := &Adapted{Routes: []byte(`[{"handle":[{"handler":"subroute","routes":[{"handle":[{"handler":"rate_limit","rate_limits":{"z":{"key":"x","max_events":9007199254740993}}}]}]}]}]`)}
	if err := a.nameZones("web"); err != nil {
		t.Fatal(err)
	}
	if got := string(a.Routes); !strings.Contains(got, `"rate_limits":{"web/z":{"key":"x","max_events":9007199254740993}}`) {
		t.Errorf("the routes are %s", got)
	}
	h := &Host{allow: Safe}
	if err := h.check(a); err != nil {
		t.Error(err)
	}
	for _, odd := range []string{`"storage":{"module":"file_system"}`, `"distributed":{}`} {
		a.Routes = []byte(`[{"handle":[{"handler":"rate_limit",` + odd + `}]}]`)
		if err := h.check(a); err == nil {
			t.Errorf("%s is allowed", odd)
		}
	}
}
