package proxy

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// TestStickyCookieIsOneThatBrowsersTake, also in a frame of another site, which sends it only
// with SameSite=None. That they take over HTTPS and with Secure alone.
func TestStickyCookieIsOneThatBrowsersTake(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	a, b := testkit.StartApp(t, "a"), testkit.StartApp(t, "b")
	overTLS := httptest.NewTLSServer(http.HandlerFunc(e.handle))
	defer overTLS.Close()
	forwarded := map[string]string{"X-Forwarded-Proto": "https"}
	trusted := map[string]string{"X-Forwarded-Proto": "https, http", "X-Test-Trusted": "1"}
	for _, c := range []struct {
		name   string
		wanted api.SameSite
		server string
		header map[string]string
		secure bool
		want   http.SameSite
	}{
		{"HTTP", "", e.url, nil, false, http.SameSiteLaxMode},
		{"HTTPS", "", overTLS.URL, nil, true, http.SameSiteNoneMode},
		{"HTTPS that a trusted proxy ended", "", e.url, trusted, true, http.SameSiteNoneMode},
		{"HTTPS that anybody claims", "", e.url, forwarded, false, http.SameSiteLaxMode},
		{"none over HTTP", api.SameSiteNone, e.url, nil, false, http.SameSiteLaxMode},
		{"none over HTTPS", api.SameSiteNone, overTLS.URL, nil, true, http.SameSiteNoneMode},
		{"lax over HTTPS", api.SameSiteLax, overTLS.URL, nil, true, http.SameSiteLaxMode},
		{"strict over HTTPS", api.SameSiteStrict, overTLS.URL, nil, true, http.SameSiteStrictMode},
		{"strict over HTTP", api.SameSiteStrict, e.url, nil, false, http.SameSiteStrictMode},
	} {
		deploy := requestFor("app", a, b)
		deploy.Sticky, deploy.StickySameSite = true, c.wanted
		e.deploy(deploy)
		req, err := http.NewRequest(http.MethodGet, c.server, nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range c.header {
			req.Header.Set(name, value)
		}
		resp, err := overTLS.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		cookies := resp.Cookies()
		if len(cookies) != 1 || cookies[0].Secure != c.secure || cookies[0].SameSite != c.want {
			t.Errorf("%s: %v, want Secure %v and SameSite %v", c.name, resp.Header["Set-Cookie"], c.secure, c.want)
		}
	}
}

func TestSameSiteNeedsStickyClients(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	req := requestFor("app", testkit.StartApp(t, "a"))
	req.StickySameSite = api.SameSiteLax
	_, err := e.Deploy(req.Patch())
	wantCode(t, err, api.CodeInvalid)
	req.Sticky, req.StickySameSite = true, "perhaps"
	_, err = e.Deploy(req.Patch())
	wantCode(t, err, api.CodeInvalid)
}
