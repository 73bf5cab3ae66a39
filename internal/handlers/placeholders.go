package handlers

import (
	"slices"
	"strings"
)

// checkTexts refuses placeholders that stand for what is not of the request, and for its whole
// body, which would be read into memory.
func checkTexts(of any) error {
	return refuseTexts(of, map[string]string{
		"{env.":              "{env.NAME}",
		"{file.":             "{file.NAME}",
		"{system.":           "{system.NAME}",
		"{http.request.body": "{http.request.body}",
	})
}

// onlyOwnValues: by a regular expression, a map can put the name of a placeholder together.
func onlyOwnValues(handler object) error {
	return refuseTexts([]any{handler["mappings"], handler["defaults"]}, map[string]string{
		"{env": "{env.NAME}", "{file": "{file.NAME}", "{system": "{system.NAME}",
	})
}

// refuseTexts refuses placeholders: each has its beginning, and what it is called.
func refuseTexts(of any, placeholders map[string]string) (err error) {
	eachText(of, func(text string) {
		for begin, name := range placeholders {
			if strings.Contains(text, begin) {
				err = forbidden("placeholder", name)
			}
		}
	})
	return err
}

// reserved are variables by which the handlers of Caddy and its server tell each other who the
// client is, whether a request is logged, and as what.
var reserved = []string{
	"access_logger_names", "client_ip", "extended_connect_websocket_body", "http.auth.user.id", "log_level", "log_skip",
	"matchers.error", "span_id", "start_time", "trace_id", "trusted_proxy", "unhandled", "uuid",
}

// onlyOwnNames: the handler vars can set any variable, by a name that may have placeholders.
func onlyOwnNames(handler object) error {
	for name := range handler {
		if slices.Contains(reserved, name) || strings.HasPrefix(name, "reverse_proxy.") || strings.Contains(name, "{") {
			return forbidden("variable", name)
		}
	}
	return nil
}
