package proxy

import (
	"net/http"
	"strings"
	"testing"
)

// What a sender says of its client reaches the target if the proxy trusts the sender, or if the
// service believes every sender; by default, nobody is believed.
func TestForwardedFieldsAreKeptForThoseWhoAreBelieved(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	a, requests := startRecorder(t)
	for _, tt := range []struct {
		name     string
		headers  bool
		ipHeader string
		trusted  bool
		ip       string // what the field for the address has
		// forwardedFor, proto and clientIP are what the target gets.
		forwardedFor, proto, clientIP string
	}{
		{"by default", false, "", false, "192.0.2.1", "127.0.0.1", "http", "192.0.2.1"},
		{"with a field", false, "cf-connecting-ip", false, "192.0.2.1", "127.0.0.1", "http", ""},
		{"believed", true, "", false, "192.0.2.1", "198.51.100.7, 127.0.0.1", "https", "192.0.2.1"},
		{"believed, with a field", true, "CF-Connecting-IP", false, "192.0.2.1", "192.0.2.1, 127.0.0.1", "https", "192.0.2.1"},
		{"trusted", false, "", true, "192.0.2.1", "198.51.100.7, 127.0.0.1", "https", "192.0.2.1"},
		{"trusted, with a field", false, "CF-Connecting-IP", true, "[2001:db8::1]:80", "2001:db8::1, 127.0.0.1", "https", "[2001:db8::1]:80"},
		{"without a field", true, "CF-Connecting-IP", false, "", "198.51.100.7, 127.0.0.1", "https", ""},
		{"no address", true, "CF-Connecting-IP", false, "1, 2", "198.51.100.7, 127.0.0.1", "https", "1, 2"},
	} {
		req := requestFor("app", a)
		req.ForwardHeaders, req.ClientIPHeader, req.Reset = tt.headers, tt.ipHeader, true
		e.deploy(req)
		in := e.request(http.MethodGet, "app.example.com", "/", nil)
		for _, name := range forwardingHeaders {
			in.Header.Set(name, "made up")
		}
		in.Header.Set("X-Forwarded-For", "198.51.100.7")
		in.Header.Set("X-Forwarded-Proto", "https")
		in.Header.Set("CF_Connecting_IP", "made up")
		if tt.ip != "" {
			in.Header.Set("CF-Connecting-IP", tt.ip)
		}
		if tt.trusted {
			in.Header.Set("X-Test-Trusted", "yes")
		}
		if status, body := e.do(in); status != http.StatusOK {
			t.Fatal(status, body)
		}
		h := (<-requests).Header
		for name, want := range map[string]string{
			"X-Forwarded-For": tt.forwardedFor, "X-Forwarded-Proto": tt.proto, "Cf-Connecting-Ip": tt.clientIP,
		} {
			if got := strings.Join(h[name], "|"); got != want {
				t.Errorf("%s: %s is %q, want %q", tt.name, name, got, want)
			}
		}
		if got := h.Get("Forwarded") + h.Get("X-Real-Ip"); got != "" && !tt.trusted {
			t.Errorf("%s: the target gets %q", tt.name, got)
		}
		if got := h["Cf_connecting_ip"]; tt.ipHeader != "" && got != nil {
			t.Errorf("%s: the target gets %q by another name", tt.name, got)
		}
	}
}
