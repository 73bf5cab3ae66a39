package integration

import "net/http"

// callRollouts brings releases into service in all ways, and changes what is under way.
func callRollouts(c apiCaller) {
	const service, path = "/parachute/services/web", "/parachute/services/web/rollout"
	a, b, bad := startApp(c.t, "a", nil), startApp(c.t, "b", nil), startApp(c.t, "bad", answer500)
	c.call(404, http.MethodPut, path, `{"action": "promote"}`)
	c.call(404, http.MethodPost, service+"/preview", "")
	c.deploy(200, "web", `{`+targets(a)+`}`)
	c.call(404, http.MethodPut, path, `{"action": "promote"}`)
	c.call(404, http.MethodPost, service+"/preview", "")

	// A canary, which waits for a decision.
	c.deploy(409, "web", `{`+targets(b)+`, "canary": "0%", "canary_by": "header:X-Team"}`)
	c.call(200, http.MethodGet, service, "")
	c.call(200, http.MethodPost, service+"/preview", "")
	c.call(200, http.MethodPost, service+"/deployments?dry_run=true", `{`+targets(a)+`, "steps": ["5%/1m", "50%"], "watch": "1m", "keep": true}`)
	c.call(200, http.MethodGet, service+"/releases", "")
	c.call(200, http.MethodPut, path, `{"action": "set", "weight": "12.5%"}`)
	c.call(400, http.MethodPut, path, `{"action": "set", "weight": "100%"}`)
	c.call(400, http.MethodPut, path, `{"action": "set", "weight": "1%", "values": ["a"]}`)
	for _, action := range []string{"pause", "resume", "abort"} {
		c.call(200, http.MethodPut, path, `{"action": "`+action+`"}`)
	}
	c.call(200, http.MethodGet, service+"/releases", "")
	// One whose clients are known by a cookie of the application's.
	c.deploy(409, "web", `{`+targets(b)+`, "canary": "0%", "canary_by": "cookie:team"}`)
	c.call(200, http.MethodPut, path, `{"action": "set", "weight": "100%", "values": ["17", "42"]}`)
	c.call(200, http.MethodPut, path, `{"action": "set", "weight": "100%", "values": ["17"], "off": true}`)
	c.call(200, http.MethodGet, service, "")
	c.call(200, http.MethodPut, path, `{"action": "abort"}`)
	c.deploy(400, "web", `{`+targets(b)+`, "canary": "0%", "canary_by": "cookie:"}`)
	for _, body := range []string{``, `{`, `{"action": "jump"}`, `{"action": "set"}`, `{"action": "abort", "full": true}`, `{"action": "pause", "weight": "1%"}`, `{"action": "abort", "values": ["a"]}`, `{"action": "set", "weight": "1%", "values": [""]}`, `{"x": 1}`} {
		c.call(400, http.MethodPut, path, body)
	}
	// One that goes on by itself, and one that grows by itself, both with their events.
	c.deploy(200, "web", `{`+targets(b)+`, "steps": ["5%/20ms", "50%/20ms", "100%"], "on_inconclusive": "promote", "watch": "30ms"}`, "Accept", "application/x-ndjson")
	c.deploy(200, "web", `{`+targets(a)+`, "slow_start": "30ms", "detach": false}`)
	// A watch that ends well, and one that does not.
	c.deploy(200, "web", `{`+targets(b)+`, "watch": "20ms", "keep": true}`)
	c.call(200, http.MethodGet, service, "")
	c.call(200, http.MethodPut, path, `{"action": "promote", "full": true}`)
	reverted := c.inBackground(func() {
		c.deploy(409, "web", `{`+targets(bad)+`, "watch": "1m", "max_error_rate": "1%", "max_slow": "50%", "min_requests": 5, "check_url": "http://`+a.addr()+`/check"}`)
	})
	failUntilTakenBack(c.t, c.p, reverted)
	c.deploy(200, "web", `{`+targets(a)+`, "keep": true}`)
	c.call(200, http.MethodPost, service+"/rollback", "")

	for _, body := range []string{
		`"canary": "10"`, `"canary": "10%", "steps": ["5%/1s"]`, `"steps": ["10%", "5%"]`, `"steps": ["100%/1s"]`, `"steps": ["5%/soon"]`, `"canary": "1%", "slow_start": "1s"`,
		`"watch": "-1s"`, `"watch": "1s", "max_error_rate": "0%"`, `"watch": "1s", "max_error_rate": "99%"`, `"min_requests": 1`, `"watch": "1s", "canary_by": "ip"`,
		`"canary": "1%", "canary_by": "name"`, `"watch": "1s", "check_url": "ftp://x"`, `"watch": "1s", "take_over": true`, `"canary": "1%", "hosts": ["elsewhere.test"]`,
	} {
		c.call(400, http.MethodPost, service+"/deployments", `{`+targets(a)+`, `+body+`}`)
	}
	c.call(200, http.MethodDelete, service, "")
}

// callIfMatch makes every call that changes a service with a generation that it is in no more.
func callIfMatch(c apiCaller) {
	const service = "/parachute/services/web"
	a := startApp(c.t, "a", nil)
	body := `{` + targets(a) + `}`
	c.deploy(412, "web", body, "If-Match", `"any"`)
	c.deploy(412, "web", body, "If-Match", `*`)
	c.deploy(200, "web", body)
	c.deploy(409, "web", `{`+targets(a)+`, "canary": "1%"}`)
	generation, _ := c.call(200, http.MethodGet, service, "")["generation"].(string)
	c.call(200, http.MethodPost, service+"/pause", "", "If-Match", `"`+generation+`"`)
	for _, call := range [][3]string{
		{http.MethodPost, "/pause", ""},
		{http.MethodPost, "/stop", ""},
		{http.MethodPost, "/resume", ""},
		{http.MethodPost, "/rollback", ""},
		{http.MethodPut, "/rollout", `{"action": "abort"}`},
		{http.MethodDelete, "", ""},
	} {
		c.call(412, call[0], service+call[1], call[2], "If-Match", `"`+generation+`"`)
	}
	c.deploy(412, "web", body, "If-Match", `"`+generation+`"`)
	c.call(200, http.MethodPost, service+"/resume", "", "If-Match", `*`)
	generation, _ = c.call(200, http.MethodGet, service, "")["generation"].(string)
	c.deploy(200, "web", body, "If-Match", `"other", "`+generation+`"`)
	c.call(200, http.MethodDelete, service, "")
}
