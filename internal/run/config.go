package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/pflag"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/cli"
	"github.com/parachute-proxy/parachute/internal/spool"
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
func (o *options) buildConfig() ([]byte, error) {
	config := o.baseConfig()
	if o.configFile != "" {
		user, adapter, err := o.userConfig()
		if err != nil {
			return nil, err
		}
		if adapter == "caddyfile" {
			o.applyServerOptions(config)
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
	} else if storage := o.fleetStorage(); storage != nil && config["storage"] == nil {
		config["storage"] = storage
	}
	o.trustAdminSocket(config)
	o.throughFront(config)
	return json.Marshal(config)
}

// trustAdminSocket leaves out what Caddy has to say of an admin endpoint on a Unix
// socket: that it is on an open interface. Ours is private. One that the user's file has
// put elsewhere may not be, and whoever wants a detailed log gets all of it.
func (o *options) trustAdminSocket(config object) {
	logs := at(config, "logging", "logs")
	main, mainIsObject := logs["default"].(object)
	api, apiIsObject := logs["parachute_api"].(object)
	if !mainIsObject || !apiIsObject || main["include"] != nil || o.adminListener().Network != "unix" || at(config, "admin")["listen"] != o.caddyAdminListen() {
		return
	}
	excluded, _ := main["exclude"].([]any)
	main["exclude"] = append(slices.Clone(excluded), "admin")
	admin := maps.Clone(api)
	admin["level"], admin["include"], admin["exclude"] = "ERROR", []any{"admin"}, []any{"admin.api"}
	logs["parachute_admin"] = admin
}

func (o *options) baseConfig() object {
	servers := object{}
	if o.httpPort != 0 {
		servers[httpServer] = o.server(o.httpPort, object{"protocols": []any{"h1", "h2c"}})
	}
	if o.httpsPort != 0 {
		servers[httpsServer] = o.server(o.httpsPort, object{
			"tls_connection_policies": o.connectionPolicies(),
			// Certificates of clients are verified with each request, for the service of its
			// host. Caddy would refuse every host but that of the handshake, of all services.
			"strict_sni_host": false,
		})
	}
	httpApp := object{"servers": servers}
	if o.httpPort != 0 {
		httpApp["http_port"] = o.httpPort
	}
	if o.httpsPort != 0 {
		httpApp["https_port"] = o.httpsPort
	}
	if o.shutdownDelay != 0 {
		httpApp["shutdown_delay"] = o.shutdownDelay.String()
	}
	if o.metricsPort != 0 {
		httpApp["metrics"] = object{}
		servers[metricsServer] = o.metricsServer()
	}
	parachute := object{"grace_period": o.gracePeriod.String(), "bound_exit": true, "site_hosts": "refuse"}
	if o.allowSiteHosts {
		parachute["site_hosts"] = "warn"
	}
	if o.publicHTTPS != 0 {
		parachute["public_https_port"] = o.publicHTTPS
	}
	if o.allowHandlers != "safe" {
		parachute["allow_handlers"] = o.allowHandlers
	}
	if o.bufferDir != "" {
		parachute["buffer_dir"] = absolute(o.bufferDir)
	}
	if o.bufferDisk != api.Size(spool.DefaultMaxDisk) {
		parachute["buffer_disk"] = int64(o.bufferDisk)
	}
	if o.beforeSwitch != "" {
		parachute["before_switch"] = o.beforeSwitch
	}
	if len(o.webhooks) > 0 {
		parachute["webhooks"] = o.webhookObjects()
	}
	if o.fleet != "" {
		parachute["fleet"] = o.fleetObject()
	}
	apps := object{"http": httpApp, "parachute": parachute}
	if o.httpsPort != 0 {
		apps["tls"] = object{
			"automation":      o.automation(),
			"session_tickets": object{"key_source": object{"provider": "parachute"}}, // which upgrades hand over
		}
		// For --tls=internal. Whom to trust is not for a server to decide.
		apps["pki"] = object{"certificate_authorities": object{"local": object{"install_trust": false}}}
	}
	config := object{
		"admin":   object{"listen": o.caddyAdminListen(), "config": object{"persist": false}},
		"logging": object{"logs": o.logs()},
		"apps":    apps,
	}
	if o.compat != nil {
		o.compat.adapt(config)
	}
	return config
}

func (o *options) fileStorage() object {
	return object{"module": "file_system", "root": absolute(o.storage)}
}

// absolute returns a path that does not depend on the directory that the process is in.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// server returns a server that hands every request to the table of services.
func (o *options) server(port int, more object) object {
	s := object{
		"listen":          []any{o.listen(port)},
		"routes":          []any{o.serviceRoute()},
		"automatic_https": object{"disable": true},
		// Ours makes connections cheaper; the other one stands for TLS.
		"listener_wrappers": []any{object{"wrapper": "parachute"}, object{"wrapper": "tls"}},
		// Our handler has cheaper ones.
		"read_idle_timeout":  -1,
		"write_idle_timeout": -1,
	}
	limitHeads(s, int64(o.maxHeaderSize))
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
	o.keepOddNames(s)
	return s
}

func (o *options) serviceRoute() object {
	handler := object{"handler": "parachute", "client_timeout": o.clientTimeout.String(), "max_header_size": int64(o.maxHeaderSize)}
	if o.pingPath != "" {
		handler["ping_path"] = o.pingPath
	}
	return object{"handle": []any{handler}}
}

func (o *options) listen(port int) string { return net.JoinHostPort(o.bind, strconv.Itoa(port)) }

func (o *options) caddyAdminListen() string { return o.adminListener().Listen() }

// userConfig reads the user's file, and adapts it by the adapter that is returned.
func (o *options) userConfig() (config object, adapter string, err error) {
	b, _, adapter, err := caddycmd.LoadConfig(o.configFile, "")
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		// Caddy's own words are of a flag that we do not have.
		hint := ""
		if !strings.EqualFold(filepath.Ext(o.configFile), ".json") {
			hint = "if it is a Caddyfile, name it Caddyfile or *.caddyfile: files with other names are read as JSON"
		}
		return nil, "", cli.FailedStart(hint, "%s is not valid JSON: %v, at offset %d", o.configFile, syntax, syntax.Offset)
	}
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", o.configFile, err)
	}
	var user object
	if err := json.Unmarshal(b, &user); err != nil {
		return nil, "", fmt.Errorf("%s: the config is not a JSON object: %w", o.configFile, err)
	}
	return user, adapter, nil
}

// Config returns the Caddy config that run starts the proxy with when it is given
// args, as JSON. Every flag has its effect but those for the process itself.
func Config(args ...string) ([]byte, error) { return config(nil, args) }

// Config is [Config] for a proxy that runs in the place of another one.
func (c Compat) Config(args ...string) ([]byte, error) { return config(&c, args) }

func config(compat *Compat, args []string) ([]byte, error) {
	o := options{compat: compat}
	flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
	o.register(flags)
	flags.StringVar(&o.admin, "admin", "", "")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	return o.buildConfig()
}

// webhookObjects returns the webhooks as the app has them.
func (o *options) webhookObjects() (all []any) {
	file := absolute(o.webhookSecret)
	for _, address := range o.webhooks {
		all = append(all, object{"url": address, "secret_file": file})
	}
	return all
}
