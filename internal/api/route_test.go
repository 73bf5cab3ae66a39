package api

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
		"":                      "leave `hosts` out",
		"*":                     "leave `hosts` out",
		"app.example.com:80":    "has a port",
		"app.example.com:":      "has a port",
		"http://example.com":    "has a scheme",
		"example.com/api":       "has a path",
		"/":                     "has a path",
		"a.*.example.com":       "as in *.example.com",
		"*.*.example.com":       "as in *.example.com",
		"*example.com":          "as in *.example.com",
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
		if !strings.Contains(err.Error(), reason) || strings.ContainsFunc(err.Error(), IsControl) {
			t.Errorf("NormalizeHost(%q): %q, want it to say %q", in, err, reason)
		}
	}
}

func TestPrefixesAreNormalised(t *testing.T) {
	for in, want := range map[string]string{
		"/": "/", "//": "/", "/api": "/api", "/api/": "/api", "/api///": "/api", "/api/v1": "/api/v1",
		"/API": "/API", "/a.b~c-d_e": "/a.b~c-d_e", "/@me": "/@me", "/...": "/...", "/" + Long(255): "/" + Long(255),
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
		"/a%2Fb":        "is not allowed",
		"/a b":          "is not allowed",
		"/a?b":          "is not allowed",
		"/a#b":          "is not allowed",
		"/bücher":       "is not allowed",
		"/a\nb":         "is not allowed",
		"/" + Long(256): "longer than 256",
	} {
		got, err := NormalizePrefix(in)
		if err == nil || !strings.Contains(err.Error(), reason) || strings.ContainsFunc(err.Error(), IsControl) {
			t.Errorf("NormalizePrefix(%q) = %q, %v, want an error that says %q", in, got, err, reason)
		}
	}
}

func TestRoutesAreEveryPairOfHostAndPrefix(t *testing.T) {
	got := RoutesOf([]string{"a", "b"}, []string{"/x", "/y"})
	if want := []Route{{"a", "/x"}, {"a", "/y"}, {"b", "/x"}, {"b", "/y"}}; !slices.Equal(got, want) {
		t.Errorf("routes %v, want %v", got, want)
	}
	if got := RoutesOf(nil, nil); !slices.Equal(got, []Route{{"", "/"}}) || got[0].String() != "*/" {
		t.Errorf("without hosts and prefixes: %v, want every host", got)
	}
}
