package proxy

import (
	"slices"
	"strings"
	"testing"
)

func TestHostsAreNormalised(t *testing.T) {
	for in, want := range map[string]string{
		"app.example.com":          "app.example.com",
		"UP.Example.COM":           "up.example.com",
		"app.example.com.":         "app.example.com",
		"bücher.de":                "xn--bcher-kva.de",
		"BÜCHER.de":                "xn--bcher-kva.de",
		"xn--bcher-kva.de":         "xn--bcher-kva.de",
		"faß.de":                   "xn--fa-hia.de", // UTS #46, non-transitional
		"例え。テスト":                   "xn--r8jz45g.xn--zckzah",
		"例え.テスト。":                  "xn--r8jz45g.xn--zckzah",
		"*.Example.com":            "*.example.com",
		"*.bücher.de.":             "*.xn--bcher-kva.de",
		"*.com":                    "*.com",
		"a":                        "a",
		"localhost":                "localhost",
		"my_app":                   "my_app",
		"127.0.0.1":                "127.0.0.1",
		"::1":                      "::1",
		"[2001:DB8:0:0::1]":        "2001:db8::1",
		"fe80::1%eth0":             "fe80::1",
		strings.Repeat("a", 63):    strings.Repeat("a", 63),
		longName(253):              longName(253),
		"1.example":                "1.example",
		"xn--zckzah.example":       "xn--zckzah.example",
		"a--b.example":             "a--b.example",
		"ＦＵＬＬ.example":             "full.example",
		"soft\u00adhyphen.example": "softhyphen.example",
	} {
		got, err := NormalizeHost(in)
		if err != nil || got != want {
			t.Errorf("NormalizeHost(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
}

func TestHostsThatCouldNeverMatchAreRefused(t *testing.T) {
	for in, reason := range map[string]string{
		"":                      "leave --host out",
		"*":                     "leave --host out",
		"app.example.com:80":    "has a port",
		"app.example.com:":      "has a port",
		"http://example.com":    "has a scheme",
		"example.com/api":       "has a path",
		"/":                     "has a path",
		"a.*.example.com":       "write it as *.example.com",
		"*.*.example.com":       "write it as *.example.com",
		"*example.com":          "write it as *.example.com",
		"*.":                    "not a host name",
		"*.[::1]":               "has a port",
		".example.com":          "not a host name",
		"a..example.com":        "not a host name",
		"a.example.com..":       "not a host name",
		"example.com。。":         "not a host name",
		"a b":                   "not a host name",
		"a,b":                   "not a host name",
		"a\nb":                  "not a host name",
		"a\x1b[31m":             "not a host name",
		"exa<mple.com":          "not a host name",
		strings.Repeat("a", 64): "not a host name",
		longName(254):           "not a host name",
		"xn--a":                 "not a host name",
	} {
		got, err := NormalizeHost(in)
		if err == nil {
			t.Errorf("NormalizeHost(%q) = %q, want an error", in, got)
			continue
		}
		if !strings.Contains(err.Error(), reason) || strings.ContainsFunc(err.Error(), isControl) {
			t.Errorf("NormalizeHost(%q): %q, want it to say %q", in, err, reason)
		}
	}
}

func TestPrefixesAreNormalised(t *testing.T) {
	for in, want := range map[string]string{
		"/": "/", "//": "/", "/api": "/api", "/api/": "/api", "/api///": "/api", "/api/v1": "/api/v1",
		"/API": "/API", "/a.b~c-d_e": "/a.b~c-d_e", "/@me": "/@me", "/...": "/...", "/" + long(255): "/" + long(255),
	} {
		if got, err := NormalizePrefix(in); err != nil || got != want {
			t.Errorf("NormalizePrefix(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	for in, reason := range map[string]string{
		"":              "does not begin with a slash",
		"api":           "write it as /api",
		"api/":          "write it as /api",
		"/a//b":         `has the segment ""`,
		"//a":           `has the segment ""`,
		"/a/./b":        `has the segment "."`,
		"/a/..":         `has the segment ".."`,
		"/a%2Fb":        "does not belong",
		"/a b":          "does not belong",
		"/a?b":          "does not belong",
		"/a#b":          "does not belong",
		"/bücher":       "does not belong",
		"/a\nb":         "does not belong",
		"/" + long(256): "longer than 256",
	} {
		got, err := NormalizePrefix(in)
		if err == nil || !strings.Contains(err.Error(), reason) || strings.ContainsFunc(err.Error(), isControl) {
			t.Errorf("NormalizePrefix(%q) = %q, %v, want an error that says %q", in, got, err, reason)
		}
	}
}

func TestRoutesAreEveryPairOfHostAndPrefix(t *testing.T) {
	got := routesOf([]string{"a", "b"}, []string{"/x", "/y"})
	if want := []Route{{"a", "/x"}, {"a", "/y"}, {"b", "/x"}, {"b", "/y"}}; !slices.Equal(got, want) {
		t.Errorf("routes %v, want %v", got, want)
	}
	if got := routesOf(nil, nil); !slices.Equal(got, []Route{{"", "/"}}) || got[0].String() != "*/" {
		t.Errorf("without hosts and prefixes: %v, want every host", got)
	}
}

// FuzzNormalizeHost checks that what is accepted is what the router compares
// with, however a client spells it.
func FuzzNormalizeHost(f *testing.F) {
	for _, s := range []string{"app.example.com", "*.example.com", "bücher.de", "[::1]", "A.", "a..", "a。", "127.1", "xn--a", "*.", "ß.de", "a_b", "1.2.3.4."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, err := NormalizeHost(s)
		if err != nil {
			if strings.ContainsFunc(err.Error(), isControl) {
				t.Fatalf("%q: the error steers terminals: %q", s, err)
			}
			return
		}
		if again, err := NormalizeHost(host); err != nil || again != host {
			t.Fatalf("%q becomes %q, which becomes %q, %v", s, host, again, err)
		}
		domain := strings.TrimPrefix(host, "*.")
		for _, spelling := range []string{domain, strings.ToUpper(domain), domain + "."} {
			if strings.Contains(domain, ":") {
				spelling = "[" + strings.TrimSuffix(spelling, ".") + "]"
			}
			for _, port := range []string{"", ":80"} {
				if got := string(canonicalHost(make([]byte, 0, 256), spelling+port)); got != domain {
					t.Fatalf("%q becomes %q, but a request for %q is for %q", s, host, spelling+port, got)
				}
			}
		}
	})
}

// FuzzNormalizePrefix checks that an accepted prefix is found again in the paths
// below it, and nowhere else.
func FuzzNormalizePrefix(f *testing.F) {
	for _, s := range []string{"/", "/api", "/api/", "/a/b/c", "//", "/a//b", "/.", "/..", "/%2F", "api"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		prefix, err := NormalizePrefix(s)
		if err != nil {
			return
		}
		if again, err := NormalizePrefix(prefix); err != nil || again != prefix {
			t.Fatalf("%q becomes %q, which becomes %q, %v", s, prefix, again, err)
		}
		c := newClaim(&Release{service: "s", routes: routesOf(nil, []string{prefix})})
		for _, below := range []string{"", "/", "/x"} {
			path := strings.TrimSuffix(prefix, "/") + below
			if _, got := newTable([]*claim{c}).lookup("h", path); got != prefix {
				t.Fatalf("%q becomes %q, which does not match %q", s, prefix, path)
			}
		}
		if got, _ := newTable([]*claim{c}).lookup("h", prefix+"x"); prefix != "/" && got != nil {
			t.Fatalf("%q becomes %q, which matches %q", s, prefix, prefix+"x")
		}
	})
}
