package parachute

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"golang.org/x/term"
)

// object is a JSON object. The config is built as plain JSON, because it has to
// be merged with a user's.
type object = map[string]any

// Names of the servers in the config of run.
const (
	httpServer    = "parachute_http"
	httpsServer   = "parachute_https"
	metricsServer = "parachute_metrics"
)

// buildConfig returns the Caddy config of run as JSON, with the user's file
// merged in.
func (o *runOptions) buildConfig() ([]byte, error) {
	config := o.baseConfig()
	if o.configFile != "" {
		user, err := o.userConfig()
		if err != nil {
			return nil, err
		}
		if err := mergeConfig(config, user); err != nil {
			return nil, fmt.Errorf("%s: %w", o.configFile, err)
		}
	}
	// Flags that say where something is win over the file: commands look for the
	// endpoint there, and the storage has been locked.
	if o.admin != "" {
		admin, ok := config["admin"].(object)
		if !ok {
			return nil, fmt.Errorf("%s: admin is not an object", o.configFile)
		}
		admin["listen"] = o.caddyAdminListen()
	}
	if o.storage != "" {
		config["storage"] = o.fileStorage()
	}
	return json.Marshal(config)
}

func (o *runOptions) baseConfig() object {
	servers := object{}
	if o.httpPort != 0 {
		servers[httpServer] = o.server(o.httpPort, object{"protocols": []any{"h1"}})
	}
	if o.httpsPort != 0 {
		servers[httpsServer] = o.server(o.httpsPort, object{"tls_connection_policies": []any{object{}}})
	}
	httpApp := object{"servers": servers}
	if o.httpPort != 0 {
		httpApp["http_port"] = o.httpPort
	}
	if o.httpsPort != 0 {
		httpApp["https_port"] = o.httpsPort
	}
	if o.metricsPort != 0 {
		httpApp["metrics"] = object{}
		servers[metricsServer] = object{
			"listen":          []any{o.listen(o.metricsPort)},
			"automatic_https": object{"disable": true},
			"protocols":       []any{"h1"},
			"routes": []any{object{
				"match":  []any{object{"path": []any{"/metrics"}}},
				"handle": []any{object{"handler": "metrics"}},
			}, object{
				"handle": []any{object{"handler": "static_response", "status_code": 404}},
			}},
		}
	}
	apps := object{
		"http":      httpApp,
		"parachute": object{"grace_period": o.gracePeriod.String(), "bound_exit": true},
	}
	if issuer := o.acmeIssuer(); issuer != nil {
		apps["tls"] = object{"automation": object{"policies": []any{object{"issuers": []any{issuer}}}}}
	}
	return object{
		"admin":   object{"listen": o.caddyAdminListen(), "config": object{"persist": false}},
		"logging": object{"logs": o.logs()},
		"apps":    apps,
	}
}

func (o *runOptions) fileStorage() object {
	dir := o.storage
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	return object{"module": "file_system", "root": dir}
}

// server returns a server that hands every request to the table of services.
func (o *runOptions) server(port int, more object) object {
	s := object{
		"listen":          []any{o.listen(port)},
		"routes":          []any{serviceRoute()},
		"automatic_https": object{"disable": true},
	}
	if o.accessLog {
		s["logs"] = object{}
	}
	if len(o.trustedProxies) > 0 {
		s["trusted_proxies"] = object{"source": "static", "ranges": o.trustedProxies}
		// The last address that is not a trusted proxy's is the client's: the
		// ones before it could be made up.
		s["trusted_proxies_strict"] = 1
	}
	for k, v := range more {
		s[k] = v
	}
	return s
}

func serviceRoute() object {
	return object{"handle": []any{object{"handler": "parachute"}}}
}

func (o *runOptions) listen(port int) string { return net.JoinHostPort(o.bind, strconv.Itoa(port)) }

func (o *runOptions) caddyAdminListen() string {
	a := o.adminListener()
	if a.network == "unix" {
		return a.String() + "|0600"
	}
	return a.String()
}

// logs returns the logs: to standard error, like Caddy's, but without ever waiting
// for whoever reads it. Calls of the API are logged when they fail, unless the log
// is to be detailed: every list would be a line.
func (o *runOptions) logs() object {
	format := "json"
	if term.IsTerminal(int(os.Stderr.Fd())) {
		format = "console"
	}
	log := func(level string) object {
		return object{
			"level":   level,
			"writer":  object{"output": "parachute_stderr"},
			"encoder": object{"format": format},
		}
	}
	if o.debug {
		return object{"default": log("DEBUG")}
	}
	main, api := log("INFO"), log("WARN")
	main["exclude"], api["include"] = []any{"admin.api"}, []any{"admin.api"}
	return object{"default": main, "parachute_api": api}
}

// acmeIssuer returns the issuer that the flags ask for, or nil.
func (o *runOptions) acmeIssuer() object {
	if o.acmeCA == "" && o.acmeCARoot == "" && o.acmeEmail == "" {
		return nil
	}
	issuer := object{"module": "acme"}
	if o.acmeCA != "" {
		issuer["ca"] = o.acmeCA
	}
	if o.acmeEmail != "" {
		issuer["email"] = o.acmeEmail
	}
	if o.acmeCARoot != "" {
		issuer["trusted_roots_pem_files"] = []any{o.acmeCARoot}
	}
	return issuer
}

// userConfig reads and adapts the user's file.
func (o *runOptions) userConfig() (object, error) {
	b, _, _, err := caddycmd.LoadConfig(o.configFile, "")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.configFile, err)
	}
	var user object
	if err := json.Unmarshal(b, &user); err != nil {
		return nil, fmt.Errorf("%s: the config is not a JSON object: %w", o.configFile, err)
	}
	return user, nil
}

// mergeConfig merges a user's config into ours. What both have, the user's wins,
// with two exceptions: sites that listen where we do get our route behind
// their own, and a list of automation policies goes before ours, which is the one
// for all other names.
func mergeConfig(config, user object) error {
	if admin, ok := user["admin"].(object); ok && admin["disabled"] == true {
		return errors.New("it turns the admin endpoint off, without which nothing can be deployed")
	}
	if err := movePorts(config, user); err != nil {
		return err
	}
	if err := shareListeners(config, user); err != nil {
		return err
	}
	ours, _ := at(config, "apps", "tls", "automation")["policies"].([]any)
	theirs, _ := at(user, "apps", "tls", "automation")["policies"].([]any)
	merge(config, user)
	if len(ours) > 0 && !hasCatchAll(theirs) {
		at(config, "apps", "tls", "automation")["policies"] = slices.Concat(theirs, ours)
	}
	return nil
}

// movePorts moves the user's sites from the ports that HTTP and HTTPS have by
// default to those that we serve them on: that is where a site without a port
// belongs, and to Caddy any other would be just a port.
func movePorts(config, user object) error {
	ours, theirs := at(config, "apps", "http"), at(user, "apps", "http")
	for key, fallback := range map[string]int{"http_port": 80, "https_port": 443} {
		port, ok := ours[key].(int)
		if !ok {
			continue // not served by us
		}
		if set, ok := theirs[key].(float64); ok && int(set) != port {
			return fmt.Errorf("its %s is %d, but that of the proxy is %d; make them the same, or leave it out of the file", key, int(set), port)
		} else if ok {
			fallback = port
		}
		bind := listenHost(ours, port)
		for _, v := range at(theirs, "servers") {
			server, _ := v.(object)
			list, _ := server["listen"].([]any)
			for i, item := range list {
				if a, err := caddy.ParseNetworkAddress(fmt.Sprint(item)); err == nil && a.StartPort == uint(fallback) && a.EndPort == a.StartPort {
					if a.Host == "" {
						a.Host = bind
					}
					a.StartPort, a.EndPort = uint(port), uint(port)
					list[i] = a.String()
				}
			}
		}
	}
	return nil
}

// listenHost returns the host that our server on a port is bound to.
func listenHost(ours object, port int) string {
	for _, v := range at(ours, "servers") {
		for _, address := range addresses(v.(object)["listen"]) {
			if a, err := caddy.ParseNetworkAddress(address); err == nil && a.StartPort == uint(port) {
				return a.Host
			}
		}
	}
	return ""
}

// shareListeners puts our route behind those of every server of the user's that
// listens on an address of ours, and gives up our own server there.
func shareListeners(config, user object) error {
	ours := at(config, "apps", "http", "servers")
	for name, v := range at(user, "apps", "http", "servers") {
		theirs, ok := v.(object)
		if !ok {
			continue
		}
		if _, taken := ours[name]; taken {
			return fmt.Errorf("the server name %s is parachute's own", name)
		}
		shared := false
		for _, ourName := range []string{httpServer, httpsServer} {
			our, ok := ours[ourName].(object)
			if ok && sameAddress(our["listen"], theirs["listen"]) {
				delete(ours, ourName)
				shared = true
				inherit(theirs, our)
			}
		}
		if shared {
			routes, _ := theirs["routes"].([]any)
			theirs["routes"] = append(routes, serviceRoute())
		}
	}
	return nil
}

// inherit gives a user's server what the flags of run ask for, unless it has
// settings of its own.
func inherit(theirs, our object) {
	if theirs["trusted_proxies"] == nil {
		for _, key := range []string{"trusted_proxies", "trusted_proxies_strict"} {
			if v, ok := our[key]; ok {
				theirs[key] = v
			}
		}
	}
	for _, key := range []string{"logs", "tls_connection_policies"} {
		if v, ok := our[key]; ok && theirs[key] == nil {
			theirs[key] = v
		}
	}
}

// sameAddress reports whether two lists of listen addresses have one in common.
func sameAddress(a, b any) bool {
	for _, x := range addresses(a) {
		if slices.Contains(addresses(b), x) {
			return true
		}
	}
	return false
}

func addresses(v any) []string {
	list, _ := v.([]any)
	var all []string
	for _, item := range list {
		s, _ := item.(string)
		if a, err := caddy.ParseNetworkAddress(s); err == nil {
			s = a.String()
		}
		all = append(all, s)
	}
	return all
}

// hasCatchAll reports whether a policy applies to all names.
func hasCatchAll(policies []any) bool {
	return slices.ContainsFunc(policies, func(p any) bool {
		policy, _ := p.(object)
		subjects, _ := policy["subjects"].([]any)
		return len(subjects) == 0
	})
}

// at returns the object at a path, or an empty one.
func at(o object, path ...string) object {
	for _, key := range path {
		next, ok := o[key].(object)
		if !ok {
			return object{}
		}
		o = next
	}
	return o
}

// merge puts what user has into base, object by object. A null says nothing, as
// it does to Caddy.
func merge(base, user object) {
	for k, v := range user {
		if v == nil {
			continue
		}
		from, isObject := v.(object)
		into, both := base[k].(object)
		if isObject && both {
			merge(into, from)
			continue
		}
		base[k] = v
	}
}
