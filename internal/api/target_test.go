package api

import (
	"strings"
	"testing"
)

func TestParseTargetAcceptsEveryForm(t *testing.T) {
	longest := "/" + strings.Repeat("s", maxUnixPath-1)
	for in, want := range map[string]Target{
		"web-1:3000":              {"http", "tcp", "web-1:3000"},
		"a:80":                    {"http", "tcp", "a:80"},
		"my_app_web_1:8080":       {"http", "tcp", "my_app_web_1:8080"},
		"WEB.Example.com:80":      {"http", "tcp", "web.example.com:80"},
		"web.example.com.:80":     {"http", "tcp", "web.example.com.:80"},
		"10.0.0.7:3000":           {"http", "tcp", "10.0.0.7:3000"},
		"[::1]:3000":              {"http", "tcp", "[::1]:3000"},
		"[2001:DB8::7]:3000":      {"http", "tcp", "[2001:db8::7]:3000"},
		"[fe80::1%eth0]:3000":     {"http", "tcp", "[fe80::1%eth0]:3000"},
		"[fe80::A%Eth0]:3000":     {"http", "tcp", "[fe80::a%Eth0]:3000"},
		"web:65535":               {"http", "tcp", "web:65535"},
		"web:08080":               {"http", "tcp", "web:8080"},
		"http://web:3000":         {"http", "tcp", "web:3000"},
		"http://web:3000/":        {"http", "tcp", "web:3000"},
		"HTTP://web:3000":         {"http", "tcp", "web:3000"},
		"https://web:8443":        {"https", "tcp", "web:8443"},
		"https://web":             {"https", "tcp", "web:443"},
		"https://[::1]":           {"https", "tcp", "[::1]:443"},
		"h2c://web:3000":          {"h2c", "tcp", "web:3000"},
		"unix//run/app.sock":      {"http", "unix", "/run/app.sock"},
		"unix//run//x/../a.sock/": {"http", "unix", "/run/a.sock"},
		"unix//run/my app.sock":   {"http", "unix", "/run/my app.sock"},
		"unix/" + longest:         {"http", "unix", longest},
		"unix:80":                 {"http", "tcp", "unix:80"},
	} {
		got, err := ParseTarget(in)
		if err != nil || got != want {
			t.Errorf("ParseTarget(%q) = %+v, %v, want %+v", in, got, err, want)
			continue
		}
		if again, err := ParseTarget(got.String()); err != nil || again != got {
			t.Errorf("ParseTarget(%q) = %+v, %v, want what String was called on: %+v", got.String(), again, err, got)
		}
		if _, err := got.URL("/up"); err != nil {
			t.Errorf("%q gives no URL: %v", in, err)
		}
	}
}

func TestParseTargetRefusesWithTheReason(t *testing.T) {
	for in, reason := range map[string]string{
		"":                       "has no port",
		"web":                    "has no port",
		"web:":                   "a port is a number",
		":3000":                  "has no host",
		"web:http":               "a port is a number",
		"web:0":                  "a port is a number",
		"web:65536":              "a port is a number",
		"web:-1":                 "a port is a number",
		"web:+80":                "a port is a number",
		"::1:3000":               "write an IPv6 address in brackets",
		"[::1]":                  "write an IPv6 address in brackets",
		"http://web":             "has no port",
		"h2c://web":              "has no port",
		"ftp://web:21":           `has the scheme "ftp"`,
		"ws://web:80":            `has the scheme "ws"`,
		"http://web:80/path":     "more than a host and a port",
		"web:80/up":              "more than a host and a port",
		"web:80?x":               "more than a host and a port",
		"user@web:80":            "more than a host and a port",
		"web..internal:80":       "not a host name",
		"web 1:80":               "not a host name",
		"web\x1b[31m:80":         "has no port",
		"web\x1b:80":             "not a host name",
		"[fe80::1%\x1b]:80":      "not a host name",
		"bücher.de:80":           "not a host name",
		"unix/run/app.sock":      "needs an absolute path",
		"unix/":                  "needs an absolute path",
		"unix//":                 "needs an absolute path",
		"unix//..":               "needs an absolute path",
		"unix//./":               "needs an absolute path",
		"unix//run/a\nb":         "control character",
		"https://unix//run/a":    "more than a host and a port",
		strings.Repeat("a", 64):  "has no port",
		"unix//" + Long(103):     "systems allow 103",
		Long(64) + ":80":         "not a host name",
		longName(254) + ":80":    "longer than the 253 characters",
		"http://http://web:3000": "more than a host and a port",
	} {
		got, err := ParseTarget(in)
		if err == nil {
			t.Errorf("ParseTarget(%q) = %+v, want an error", in, got)
			continue
		}
		if !strings.Contains(err.Error(), reason) || strings.ContainsFunc(err.Error(), IsControl) {
			t.Errorf("ParseTarget(%q): %q, want it to say %q", in, err, reason)
		}
	}
}

func Long(n int) string { return strings.Repeat("a", n) }

// longName returns a host name of n characters.
func longName(n int) string { return strings.Repeat(Long(49)+".", n/50+1)[:n-1] + "a" }

func TestHealthCheckPortReplacesOnlyPorts(t *testing.T) {
	for in, want := range map[string]string{
		"web:3000": "web:9090", "[::1]:3000": "[::1]:9090", "https://web": "https://web:9090", "unix//run/a.sock": "unix//run/a.sock",
	} {
		target, err := ParseTarget(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := target.WithPort(9090).String(); got != want {
			t.Errorf("%s with the port 9090: %s, want %s", in, got, want)
		}
		if got := target.WithPort(0); got != target {
			t.Errorf("%s without a port of its own: %s", in, got)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{
		"web-1:3000", "[::1]:3000", "[fe80::1%eth0]:80", "unix//run/app.sock", "unix//..", "https://host", "h2c://a:1",
		"http://web:80/", "web:00080", "::", "unix/", "://:0", "[]:80", "https://[]", "a..b:80",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		target, err := ParseTarget(s)
		if err != nil {
			if strings.ContainsFunc(err.Error(), IsControl) {
				t.Fatalf("%q: the error steers terminals: %q", s, err)
			}
			return
		}
		again, err := ParseTarget(target.String())
		if err != nil || again != target {
			t.Fatalf("%q is %+v, whose String is %q, which is %+v, %v", s, target, target, again, err)
		}
		if _, err := target.URL("/up?x=%zz"); err != nil {
			t.Fatalf("%q gives no URL: %v", s, err)
		}
	})
}
