package handlers

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

var errOwnProxy = errors.New("leave reverse_proxy out: behind the directives, requests come to the targets of the service by themselves; " +
	"for other addresses, who runs the proxy can allow it with --allow-handlers all")

// onlyForwardAuth accepts of all reverse proxies the one that the directive forward_auth makes.
// It asks a gateway by GET whether a request may pass. What the gateway answers with 2xx reaches
// nobody, so the form has to be exact: any other way to handle an answer of 2xx would give
// clients what the service at that address says, which may be any that the proxy reaches.
func onlyForwardAuth(handler object) error {
	rewrite := at(handler, "rewrite")
	if protocol := at(handler, "transport")["protocol"]; rewrite["method"] == nil && (protocol == nil || protocol == "http") {
		return errOwnProxy
	}
	if err := only("option of reverse_proxy", handler, "handler", "handle_response", "headers", "rewrite", "transport", "upstreams", "trusted_proxies"); err != nil {
		return err
	}
	responses, _ := handler["handle_response"].([]any)
	if rewrite["method"] != "GET" || len(responses) != 1 || !onlyPasses(responses[0]) {
		return forbidden("handler", "reverse_proxy")
	}
	if err := only("option of rewrite", rewrite, "method", "uri"); err != nil {
		return err
	}
	upstreams, _ := handler["upstreams"].([]any)
	for _, of := range upstreams {
		if err := onlyHostAndPort(of); err != nil {
			return err
		}
	}
	return onlyPlainTransport(at(handler, "transport"))
}

// onlyPasses reports whether what is done with answers is that those of 2xx let the request
// pass, with header fields and variables.
func onlyPasses(of any) bool {
	response, _ := of.(object)
	match := at(response, "match")
	codes, _ := match["status_code"].([]any)
	routes, _ := response["routes"].([]any)
	if len(response) != 2 || len(match) != 1 || len(codes) != 1 || fmt.Sprint(codes[0]) != "2" || len(routes) == 0 {
		return false
	}
	for _, of := range routes {
		route, _ := of.(object)
		handlers, _ := route["handle"].([]any)
		if only("option of a route", route, "handle", "match") != nil || len(handlers) == 0 {
			return false
		}
		for _, of := range handlers {
			handler, _ := of.(object)
			if name, _ := handler["handler"].(string); !slices.Contains([]string{"headers", "vars"}, name) {
				return false
			}
		}
	}
	return true
}

// onlyHostAndPort refuses gateways at Unix sockets, such as that of the API, and at addresses
// that a request says: those would be all services that the proxy reaches.
func onlyHostAndPort(of any) error {
	upstream, _ := of.(object)
	if err := only("option of an upstream", upstream, "dial"); err != nil {
		return err
	}
	dial, _ := upstream["dial"].(string)
	if dial == "" || strings.ContainsAny(dial, "/{}") {
		return forbidden("address", fmt.Sprintf("%.64q", dial))
	}
	return nil
}

// onlyPlainTransport refuses files, other proxies, and transports of plugins.
func onlyPlainTransport(transport object) error {
	if protocol := transport["protocol"]; protocol != nil && protocol != "http" {
		return forbidden("transport", fmt.Sprint(protocol))
	}
	if err := only("option of a transport", transport, "protocol", "tls", "versions", "compression",
		"dial_timeout", "read_timeout", "write_timeout", "response_header_timeout"); err != nil {
		return err
	}
	return only("option of TLS", at(transport, "tls"), "server_name", "insecure_skip_verify", "handshake_timeout")
}

// ownTransports gives each reverse proxy that has none a transport of its own. One that Caddy
// makes by default is none of its modules: nothing closes its connections when the handlers are
// closed, and they would stay for two minutes after each deploy.
func (a *Adapted) ownTransports() error {
	return a.edit("reverse_proxy", func(handler object) {
		if handler["transport"] == nil {
			handler["transport"] = object{"protocol": "http"}
		}
	})
}
