package run

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// optionProbes are sites that no request is for. Each would share the address of one of
// our servers.
var optionProbes = []struct{ server, scheme, host string }{
	{httpServer, "http", "parachute-http.invalid"},
	{httpsServer, "https", "parachute-https.invalid"},
}

// notOptions are the settings of a server that come from its sites and not from options.
var notOptions = []string{"listen", "routes", "errors", "named_routes", "automatic_https", "tls_connection_policies", "logs"}

// applyServerOptions gives our servers what the option `servers` of the user's Caddyfile
// says of theirs. Caddy keeps the option only for addresses that have sites, so we look
// at what it makes of the file with a site on each of ours.
func (o *options) applyServerOptions(config object) {
	text, err := os.ReadFile(o.configFile)
	if err != nil {
		return // which the user has been told
	}
	for _, p := range optionProbes {
		text = fmt.Appendf(text, "\n%s://%s {\n\tabort\n}\n", p.scheme, p.host)
	}
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(text, map[string]any{"filename": o.configFile})
	var probed object
	if err != nil || json.Unmarshal(adapted, &probed) != nil {
		return // the file has a site without braces, to which everything in it belongs
	}
	servers := at(config, "apps", "http", "servers")
	for _, p := range optionProbes {
		our, ok := servers[p.server].(object)
		if !ok {
			continue
		}
		for _, v := range at(probed, "apps", "http", "servers") {
			if server, _ := v.(object); slices.Contains(hostsOf(server), p.host) {
				letOddNamesBe(our)
				takeOptions(our, server)
				o.keepOddNames(our)
			}
		}
	}
}

// takeOptions gives a server of ours the options that another has.
func takeOptions(our, options object) {
	if options["trusted_proxies"] != nil {
		delete(our, "trusted_proxies_strict")
	}
	for key, v := range options {
		if !slices.Contains(notOptions, key) {
			our[key] = v
		}
	}
	if logs, ok := our["logs"].(object); ok { // of --access-log
		merge(logs, at(options, "logs"))
	}
	if limit, ok := options["max_header_bytes"].(float64); ok {
		our["routes"] = withHeadLimit(our["routes"], int64(limit))
		limitHeads(our, int64(limit))
	}
}
