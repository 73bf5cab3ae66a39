package handlers

import (
	"encoding/json"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
)

// Caddy removes a field as an answer passes the handler that is to remove it. An error is answered
// behind all handlers, so it would keep the field: the 401 of basic_auth, the 403 of an address
// that is refused, and what handle_errors answers. So fields that no answer is to have are removed
// here from those as well.

// removedFields returns the fields that are removed from every answer: by handlers at the
// beginning that are for every request.
func (a *Adapted) removedFields() *headers.HeaderOps {
	var list any
	if a.Routes == nil || json.Unmarshal(a.Routes, &list) != nil {
		return nil
	}
	ops := new(headers.HeaderOps)
	for _, handler := range firstHandlers(list) {
		response := at(handler, "response")
		if handler["handler"] != "headers" || response["require"] != nil {
			break
		}
		names, _ := response["delete"].([]any)
		for _, name := range names {
			if name, ok := name.(string); ok {
				ops.Delete = append(ops.Delete, name)
			}
		}
	}
	if len(ops.Delete) == 0 {
		return nil
	}
	return ops
}

// firstHandlers returns the handlers at the beginning of routes which every request passes: those
// before the first one with a matcher, also of the block that holds all directives.
func firstHandlers(list any) (all []object) {
	routes, _ := list.([]any)
	for _, of := range routes {
		route, _ := of.(object)
		if route["match"] != nil {
			return all
		}
		handlers, _ := route["handle"].([]any)
		for _, of := range handlers {
			handler, _ := of.(object)
			if handler["handler"] == "subroute" {
				return append(all, firstHandlers(handler["routes"])...)
			}
			all = append(all, handler)
		}
	}
	return all
}

// removingWriter is the writer of an answer without some fields.
type removingWriter struct {
	*caddyhttp.ResponseWriterWrapper
	fields   *headers.HeaderOps
	replacer *caddy.Replacer
}

// WriteHeader implements [http.ResponseWriter].
func (w removingWriter) WriteHeader(status int) {
	w.fields.ApplyTo(w.Header(), w.replacer)
	w.ResponseWriter.WriteHeader(status)
}

func (w removingWriter) Write(p []byte) (int, error) {
	w.fields.ApplyTo(w.Header(), w.replacer) // which does nothing once an answer has begun
	return w.ResponseWriter.Write(p)
}

// removing returns w without the fields that no answer is to have.
func (c *chain) removing(w http.ResponseWriter, replacer *caddy.Replacer) http.ResponseWriter {
	if c.removed == nil {
		return w
	}
	return removingWriter{&caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, c.removed, replacer}
}
