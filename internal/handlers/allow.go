package handlers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Allow says which handlers services may have. Flags such as --compress are made of handlers
// that are always allowed.
type Allow string

const (
	// None allows no directives.
	None Allow = "none"
	// Safe allows handlers that reach nothing but the request and its answer: no files, no
	// environment, no other handlers of the config.
	Safe Allow = "safe"
	// All allows every handler that the program has. Who may deploy may then do what the user
	// can that the proxy runs as.
	All Allow = "all"
)

// Allows returns what there is to choose from.
func Allows() []Allow { return []Allow{None, Safe, All} }

// never are handlers that no service can have: they belong to a server.
var never = map[string]string{
	"parachute": "the requests of a service are forwarded to its own targets",
	"invoke":    "a service has no named routes",
}

// safeHandlers are the handlers of Safe, and what more there is to check of them.
var safeHandlers = map[string]func(handler object) error{
	"authentication":  onlyBasicAuth,
	"encode":          onlyEncodings,
	"error":           nil,
	"headers":         nil,
	"map":             onlyOwnValues,
	"rate_limit":      onlyCounters,
	"request_body":    onlyLimits,
	"reverse_proxy":   onlyForwardAuth,
	"rewrite":         nil,
	"static_response": nil,
	"subroute":        nil,
	"tracing":         nil,
	"vars":            onlyOwnNames,
}

// safeMatchers are the matchers of Safe.
var safeMatchers = map[string]func(matcher any) error{
	"client_ip":     nil,
	"expression":    onlyStatuses,
	"header":        nil,
	"header_regexp": nil,
	"host":          nil,
	"method":        nil,
	"not":           nil,
	"path":          nil,
	"path_regexp":   nil,
	"protocol":      nil,
	"query":         nil,
	"remote_ip":     nil,
	"tls":           nil,
	"vars":          nil,
	"vars_regexp":   nil,
}

type object = map[string]any

// check returns why handlers are not allowed, or nil.
func (h *Host) check(a *Adapted) error {
	var lists []any
	for _, raw := range []json.RawMessage{a.Routes, a.Errors} {
		if raw == nil {
			continue
		}
		var list any
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.UseNumber()
		if err := decoder.Decode(&list); err != nil {
			return err
		}
		if h.allow != All {
			if err := checkTexts(list); err != nil {
				return err
			}
		}
		if err := h.checkRoutes(list); err != nil {
			return err
		}
		lists = append(lists, list)
	}
	if err := errors.Join(checkMaps(lists...), checkAnswers(lists...)); err != nil {
		return err
	}
	return checkAccounts(lists...)
}

// checkRoutes checks routes and all that are in them.
func (h *Host) checkRoutes(list any) error {
	routes, ok := list.([]any)
	if !ok && list != nil {
		return errOddForm
	}
	for _, r := range routes {
		route, ok := r.(object)
		if !ok {
			return errOddForm
		}
		if err := h.checkMatchers(route["match"]); err != nil {
			return err
		}
		handlers, _ := route["handle"].([]any)
		for _, handler := range handlers {
			if err := h.checkHandler(handler); err != nil {
				return err
			}
		}
	}
	return nil
}

var errOddForm = fmt.Errorf("the handlers are not in a form that is known")

func (h *Host) checkHandler(of any) error {
	handler, ok := of.(object)
	if !ok {
		return errOddForm
	}
	name, _ := handler["handler"].(string)
	if why, ok := never[name]; ok {
		return fmt.Errorf("the handler %s is not for services: %s", name, why)
	}
	check, safe := safeHandlers[name]
	if h.allow != All {
		if !safe {
			return forbidden("handler", name)
		}
		if check != nil {
			if err := check(handler); err != nil {
				return err
			}
		}
	}
	// A handler of another one's routes is a handler.
	for _, inner := range []any{handler["routes"], at(handler, "errors")["routes"]} {
		if err := h.checkRoutes(inner); err != nil {
			return err
		}
	}
	responses, _ := handler["handle_response"].([]any)
	for _, of := range responses {
		response, _ := of.(object)
		if err := h.checkRoutes(response["routes"]); err != nil {
			return err
		}
	}
	return h.checkZones(handler)
}

// checkZones checks the matchers of the zones of a rate limit.
func (h *Host) checkZones(handler object) error {
	for _, of := range at(handler, "rate_limits") {
		zone, _ := of.(object)
		if err := h.checkMatchers(zone["match"]); err != nil {
			return err
		}
	}
	return nil
}

func (h *Host) checkMatchers(of any) error {
	if h.allow == All {
		return nil
	}
	sets, ok := of.([]any)
	if !ok && of != nil {
		return errOddForm
	}
	for _, s := range sets {
		set, ok := s.(object)
		if !ok {
			return errOddForm
		}
		for name, matcher := range set {
			check, safe := safeMatchers[name]
			if !safe {
				return forbidden("matcher", name)
			}
			if check != nil {
				if err := check(matcher); err != nil {
					return err
				}
			}
			if name == "not" {
				if err := h.checkMatchers(matcher); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func forbidden(kind, name string) error {
	return fmt.Errorf("the %s %s is not allowed here: who runs the proxy can allow it with --allow-handlers all", kind, name)
}

// only returns an error if an object has other members than these.
func only(what string, o object, names ...string) error {
	for name := range o {
		if !slices.Contains(names, name) {
			return forbidden(what, name)
		}
	}
	return nil
}

func onlyBasicAuth(handler object) error {
	return only("authentication provider", at(handler, "providers"), "http_basic")
}

func onlyEncodings(handler object) error {
	return only("encoding", at(handler, "encodings"), "gzip", "zstd", "br")
}

// onlyLimits: the handler can also put a text in the place of a body.
func onlyLimits(handler object) error {
	return only("option of request_body", handler, "handler", "max_size", "set")
}

// onlyCounters: the handler can also keep them in a storage, for other proxies.
func onlyCounters(handler object) error {
	return only("option of rate_limit", handler, "handler", "rate_limits", "jitter", "sweep_interval", "log_key")
}

// statuses is what handle_errors makes of the statuses that it is for. Other expressions can
// look for any placeholder, by names that they put together.
var statuses = regexp.MustCompile(`^[0-9 ><=|&,()\[\]]*$`)

func onlyStatuses(matcher any) error {
	text, ok := matcher.(string)
	if o, isObject := matcher.(object); isObject {
		text, ok = o["expr"].(string)
		ok = ok && only("option of expression", o, "expr", "name") == nil
	}
	rest := strings.ReplaceAll(text, "{http.error.status_code}", "")
	if !ok || !statuses.MatchString(strings.ReplaceAll(rest, " in ", " ")) {
		return forbidden("matcher", "expression")
	}
	return nil
}

// at returns the object that another one has, or an empty one.
func at(o object, name string) object {
	inner, _ := o[name].(object)
	return inner
}

// readsNames reports whether what the handlers do depends on the names of header fields of
// requests: they set or remove some, or nobody knows.
func (a *Adapted) readsNames() bool {
	var reads func(of any) bool
	reads = func(of any) bool {
		switch v := of.(type) {
		case []any:
			return slices.ContainsFunc(v, reads)
		case object:
			switch name, _ := v["handler"].(string); name {
			case "", "encode", "error", "map", "rate_limit", "request_body", "rewrite", "static_response", "subroute", "vars":
			case "headers":
				if v["request"] != nil {
					return true
				}
			default:
				return true
			}
			for _, inner := range v {
				if reads(inner) {
					return true
				}
			}
		}
		return false
	}
	for _, raw := range []json.RawMessage{a.Routes, a.Errors} {
		var list any
		if raw != nil && (json.Unmarshal(raw, &list) != nil || reads(list)) {
			return true
		}
	}
	return false
}
