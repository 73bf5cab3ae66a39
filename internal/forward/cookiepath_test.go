package forward

import (
	"net/http"
	"strings"
	"testing"
)

func TestOnlyThePathOfACookieIsScoped(t *testing.T) {
	for cookie, want := range map[string]string{
		"a=1":                          "a=1; Path=/x",
		"a=1; Path=/":                  "a=1; Path=/x",
		"a=1; Path=/y/z; Secure":       "a=1; Path=/x/y/z; Secure",
		"a=1;path = /y/ ;HttpOnly":     "a=1;path =/x/y/;HttpOnly",
		"a=1; Path":                    "a=1; Path=/x",
		"a=1; Path=; Max-Age=0":        "a=1; Path=/x; Max-Age=0",
		"a=1; Path=y":                  "a=1; Path=/x",
		"a=1; Path=/y; Path=/z":        "a=1; Path=/y; Path=/x/z",
		"a=1; Domain=App.Test; Path=/": "a=1; Domain=App.Test; Path=/x",
		"a=1; Domain=.app.test":        "a=1; Domain=.app.test; Path=/x",
		"a=1; Domain=":                 "a=1; Domain=; Path=/x",
		`a="1 2"; SameSite=Lax; odd=;`: `a="1 2"; SameSite=Lax; odd=;; Path=/x`,
		"a=b=c; Priority=High":         "a=b=c; Priority=High; Path=/x",

		"a=1; Domain=test; Path=/":                  "a=1; Domain=test; Path=/",
		"a=1; Domain=app.test; Domain=sub.app.test": "a=1; Domain=app.test; Domain=sub.app.test",
		"__Host-a=1; Secure; Path=/":                "__Host-a=1; Secure; Path=/",
		"":                                          "",
		"novalue":                                   "novalue",
		"=1; Path=/":                                "=1; Path=/",
		"a b=1; Path=/":                             "a b=1; Path=/",
	} {
		if got := scopeCookie(cookie, "/x", "app.test:8080"); got != want {
			t.Errorf("%q becomes %q, want %q", cookie, got, want)
		}
	}
	if got := scopeCookie("a=1; Domain=2001:db8::1", "/x", "[2001:db8::1]:80"); got != "a=1; Domain=2001:db8::1; Path=/x" {
		t.Errorf("%q", got)
	}
}

func FuzzScopeCookie(f *testing.F) {
	for _, seed := range []string{"a=1; Path=/", "a; ;=;path", "a=1;Domain=x", "__host-a=1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, cookie string) {
		scoped := scopeCookie(cookie, "/x", "app.test")
		if scoped == cookie {
			return
		}
		before, _ := http.ParseSetCookie(cookie)
		after, err := http.ParseSetCookie(scoped)
		if err != nil || after.Name != before.Name || after.Value != before.Value || !strings.HasPrefix(after.Path, "/x") {
			t.Errorf("%q becomes %q: %v", cookie, scoped, err)
		}
	})
}
