package handlers

import (
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"

	"github.com/parachute-proxy/parachute/internal/proxy"
)

// passwordRetryAfter is when a client may come again whose password was not checked.
const passwordRetryAfter = time.Second

// basicAuth is the name of our own provider.
const basicAuth = "parachute_basic"

// BasicAuth asks clients for a name and a password (RFC 7617), as Caddy's own provider does.
// How many passwords are checked at once is bounded, and what was found out of them lives through
// deploys. Handlers have it in place of Caddy's provider. Its JSON is the same.
type BasicAuth struct {
	caddyauth.HTTPBasicAuth

	// hashes are those of the accounts.
	hashes map[string][]byte
	// other is what a password is compared with whose name has no account: the answer is to take
	// as long.
	other []byte
}

// CaddyModule returns the Caddy module information.
func (BasicAuth) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.authentication.providers." + basicAuth, New: func() caddy.Module { return new(BasicAuth) }}
}

// Provision makes what compares passwords with hashes.
func (b *BasicAuth) Provision(ctx caddy.Context) error {
	b.HashCache = nil
	accounts := b.AccountList
	if err := b.HTTPBasicAuth.Provision(ctx); err != nil {
		return err
	}
	b.hashes = make(map[string][]byte, len(accounts))
	for name, account := range b.Accounts {
		b.hashes[name] = []byte(resolved(account.Password))
	}
	if len(accounts) > 0 {
		b.other = []byte(resolved(accounts[0].Password))
	}
	return nil
}

// Authenticate implements [caddyauth.Authenticator].
func (b *BasicAuth) Authenticate(w http.ResponseWriter, r *http.Request) (caddyauth.User, bool, error) {
	name, password, given := r.BasicAuth()
	if !given || b.other == nil {
		b.ask(w)
		return caddyauth.User{}, false, nil
	}
	hash, exists := b.hashes[name]
	if !exists {
		hash = b.other
	}
	address, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	same, done, err := passwords.check(r.Context(), passwordClient(address), name, hash, []byte(password), b.Hash.Compare)
	switch {
	case !done:
		if p, ok := r.Context().Value(passageKey{}).(*passage); ok {
			p.unchecked = true
		}
		return caddyauth.User{}, false, nil
	case err != nil || !same || !exists:
		b.ask(w)
		return caddyauth.User{}, false, err
	}
	return caddyauth.User{ID: name}, true, nil
}

// ask has the client ask its user.
func (b *BasicAuth) ask(w http.ResponseWriter) {
	realm := b.Realm
	if realm == "" {
		realm = "restricted"
	}
	w.Header().Set("WWW-Authenticate", `Basic realm="`+realm+`"`)
}

// withOwnBasicAuth returns handlers that have our provider in place of Caddy's. What is stored
// stays as Caddy knows it.
func (a Adapted) withOwnBasicAuth() (*Adapted, error) {
	err := a.edit("authentication", func(handler object) {
		if providers := at(handler, "providers"); providers["http_basic"] != nil {
			providers[basicAuth] = providers["http_basic"]
			delete(providers, "http_basic")
		}
	})
	return &a, err
}

// errUnchecked is what a client gets whose password was not checked in time.
func errUnchecked() error {
	return forwardError{&proxy.HeldError{Cause: proxy.ErrPasswordsWait, Status: http.StatusServiceUnavailable, RetryAfter: passwordRetryAfter}}
}
