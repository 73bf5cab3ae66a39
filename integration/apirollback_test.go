package integration

import "net/http"

// callRollback goes back and forth, with every outcome that a test can bring about.
func callRollback(c apiCaller) {
	t := c.t
	first, arrived, release := slowApp(t, "first")
	defer close(release)
	next := startApp(t, "next", nil)
	const path = "/parachute/services/web/rollback"
	c.call(404, http.MethodGet, "/parachute/services/web/releases", "")
	c.call(404, http.MethodPost, path, "")
	c.deploy(200, "web", `{`+targets(first)+`, "hosts": ["web.example.com"], "drain_timeout": "1ms", "note": {"label": "1.0", "commit": "abc", "by": "ada"}}`)
	c.call(404, http.MethodPost, path, "")
	c.deploy(200, "web", `{`+targets(next)+`}`)
	c.call(200, http.MethodPost, path, "")
	c.call(200, http.MethodGet, "/parachute/services/web/releases", "")
	c.call(200, http.MethodGet, "/parachute/services/web", "")
	c.call(200, http.MethodPost, path, `{"to": 2, "note": {"by": "bob"}}`, "Accept", "application/x-ndjson")
	c.call(202, http.MethodPost, path, `{"to": 1, "detach": true}`)
	waitFor(t, "the switch", func() bool { return services(t, c.p)[0].Active.Release == 5 })
	waitFor(t, "the end", func() bool { return len(services(t, c.p)[0].Deployments) == 0 })
	for _, body := range []string{`{`, `[]`, `{"to": "v1"}`, `{"to": 5}`, `{"too": 1}`, `{"to": 1} {}`} {
		c.call(400, http.MethodPost, path, body)
	}
	c.call(404, http.MethodPost, path, `{"to": 99}`)

	arriveAt(t, c.p, "web.example.com", arrived)
	c.call(504, http.MethodPost, path, `{"to": 2, "fail_on_cut": true}`)
	first.unready.Store(true)
	c.call(422, http.MethodPost, path, `{"to": 1}`)
	overtaken := c.inBackground(func() { c.call(409, http.MethodPost, path, `{"to": 1}`) })
	waitFor(t, "a deployment", func() bool { return len(services(t, c.p)[0].Deployments) == 1 })
	c.deploy(200, "web", `{`+targets(next)+`}`)
	arrive(t, "the end of the overtaken rollback", overtaken)
	c.call(200, http.MethodDelete, "/parachute/services/web", "")
}
