package run

// metricsServer returns the server for who watches the proxy: metrics, and whether clients
// should come.
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
