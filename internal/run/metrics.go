package run

// metricsServer returns the server for whoever watches the proxy: it has the metrics, and
// /ready says whether clients should come. That says no once the proxy has been told to stop.
// It has no other no: a server answers when all of its config has started, and not before.
func (o *options) metricsServer() object {
	answer := func(status int, text string) []any {
		return []any{object{"handler": "static_response", "status_code": status, "body": text}}
	}
	ready := object{"path": []any{"/ready"}}
	stopping := object{"path": []any{"/ready"}, "vars": object{"{http.shutting_down}": []any{"true"}}}
	return object{
		"listen":          []any{o.listen(o.metricsPort)},
		"automatic_https": object{"disable": true},
		"protocols":       []any{"h1"},
		"routes": []any{
			object{"match": []any{object{"path": []any{"/metrics"}}}, "handle": []any{object{"handler": "metrics"}}},
			object{"match": []any{stopping}, "handle": answer(503, "stopping\n")},
			object{"match": []any{ready}, "handle": answer(200, "ready\n")},
			object{"handle": []any{object{"handler": "static_response", "status_code": 404}}},
		},
	}
}
