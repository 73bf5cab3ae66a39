package run

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/certmagic"
)

// connectionPolicies returns what is demanded of TLS connections. Clients of services that have to
// know them are asked for a certificate.
func (o *options) connectionPolicies() []any {
	asking := object{"match": object{"parachute_client_auth": object{}}, "client_authentication": object{"mode": "request"}}
	others := object{}
	if o.minTLS == "1.3" { // 1.2 is Caddy's
		asking["protocol_min"], others["protocol_min"] = "tls1.3", "tls1.3"
	}
	return []any{asking, others}
}

// automation returns how certificates are obtained: for deployed hosts by asking us,
// for all else as the user's own policies say.
func (o *options) automation() object {
	return object{
		"policies":  []any{o.catchAllPolicy()},
		"on_demand": object{"permission": object{"module": "parachute"}},
	}
}

// catchAllPolicy returns the policy for all names that have no other.
func (o *options) catchAllPolicy() object {
	return askParachute(object{"issuers": o.issuers()})
}

// askParachute has Caddy ask us for the certificates of a policy, after whoever else
// it asks.
func askParachute(policy object) object {
	getters, _ := policy["get_certificate"].([]any)
	policy["get_certificate"] = append(getters, object{"via": "parachute"})
	return policy
}

// issuers returns the issuers that the flags ask for. Without any flag, they are
// Caddy's.
func (o *options) issuers() []any {
	// Caddy tells its issuers which ports it has, but only if it gets certificates by
	// itself.
	challenges := object{
		"http":     object{"disabled": o.httpPort == 0, "alternate_port": o.httpPort},
		"tls-alpn": object{"alternate_port": o.httpsPort},
	}
	if o.bind != "" {
		challenges["bind_host"] = o.bind
	}
	if provider, _ := o.dnsProvider(); provider != nil { // validated
		challenges["dns"] = object{"provider": provider}
	}
	first := object{"module": "acme", "challenges": challenges}
	ca := o.acmeCA
	if o.tlsStaging {
		ca = certmagic.LetsEncryptStagingCA
	}
	if ca != "" {
		first["ca"] = ca
	}
	if o.acmeCARoot != "" {
		first["trusted_roots_pem_files"] = []any{o.acmeCARoot}
	}
	if o.acmeEABKeyID != "" {
		first["external_account"] = object{"key_id": o.acmeEABKeyID, "mac_key": o.acmeEABMACKey}
	}
	if o.acmeEmail == "" {
		return []any{first}
	}
	first["email"] = o.acmeEmail
	if ca != "" {
		return []any{first}
	}
	// The second choice, which wants an address.
	return []any{first, object{"module": "acme", "challenges": challenges, "email": o.acmeEmail, "ca": certmagic.ZeroSSLProductionCA}}
}

// dnsProvider returns the settings of the DNS provider that --acme-dns names, which
// are written as in a Caddyfile, or nil.
func (o *options) dnsProvider() (json.RawMessage, error) {
	if o.acmeDNS == "" {
		return nil, nil
	}
	tokens, err := caddyfile.Tokenize([]byte(o.acmeDNS), "--acme-dns")
	if err != nil || len(tokens) == 0 {
		return nil, fmt.Errorf("--acme-dns %q is not the name of a provider and its settings", o.acmeDNS)
	}
	name := tokens[0].Text
	id := "dns.providers." + name
	if _, err := caddy.GetModule(id); err != nil {
		return nil, fmt.Errorf("--acme-dns: this binary has no plugin for the DNS provider %s; build one with: "+
			"xcaddy build --with github.com/parachute-proxy/parachute --with github.com/caddy-dns/%s --output parachute",
			name, strings.ToLower(name))
	}
	d := caddyfile.NewDispenser(tokens)
	d.Next()
	module, err := caddyfile.UnmarshalModule(d, id)
	if err != nil {
		return nil, fmt.Errorf("--acme-dns: %w", err)
	}
	return caddyconfig.JSONModuleObject(module, "name", name, nil), nil
}
