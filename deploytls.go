package parachute

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/spf13/pflag"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/cli"
)

// tlsFlags are the flags of deploy for HTTPS.
type tlsFlags struct {
	issuer      string
	wait        bool
	redirect    bool
	certificate string
	privateKey  string
	onDemandURL string
}

func (f *tlsFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.issuer, "tls", "", "serve HTTPS with certificates that are obtained and renewed automatically, from the `issuer` auto, or internal for the proxy's own authority, for development")
	flags.Lookup("tls").NoOptDefVal = string(api.IssuerAuto)
	flags.BoolVar(&f.wait, "tls-wait", true, "wait for the certificates before switching, and fail without them")
	flags.BoolVar(&f.redirect, "tls-redirect", true, "redirect HTTP to HTTPS")
	flags.StringVar(&f.certificate, "tls-certificate-path", "", "PEM `file` with a certificate of your own and its chain, on the proxy's machine")
	flags.StringVar(&f.privateKey, "tls-private-key-path", "", "PEM `file` with its private key")
	flags.StringVar(&f.onDemandURL, "tls-on-demand-url", "", "`URL`, or path of the service, that says with 200 which names may have a certificate at their first handshake")
}

// check refuses flags that have no effect, or that contradict each other. What is in the
// environment may be meant for other deploys.
func (f *tlsFlags) check(flags *pflag.FlagSet) error {
	if on, err := strconv.ParseBool(f.issuer); err == nil && !on && f.wanted(flags) {
		return &api.Error{
			Code:    api.CodeInvalid,
			Message: "--tls=" + f.issuer + " contradicts the other flags for TLS",
			Hint:    "leave one of them out",
		}
	}
	if f.wanted(flags) {
		return nil
	}
	for _, name := range []string{"tls-wait", "tls-redirect"} {
		if flags.Changed(name) && cli.VariableOf(flags.Lookup(name)) == "" {
			return &api.Error{
				Code:    api.CodeInvalid,
				Message: fmt.Sprintf("--%s has no effect without --tls", name),
				Hint:    "add --tls, or leave it out",
			}
		}
	}
	return nil
}

// wanted reports whether the flags ask for HTTPS. Certificates of one's own, or on
// demand, are asked for to be used.
func (f *tlsFlags) wanted(flags *pflag.FlagSet) bool {
	on, err := strconv.ParseBool(f.issuer)
	return f.issuer != "" && (on || err != nil) ||
		flags.Changed("tls-certificate-path") || flags.Changed("tls-private-key-path") || flags.Changed("tls-on-demand-url")
}

// request returns what the flags ask for, which is nil without HTTPS, and the targets.
// An "internal" among them, which has no port, belongs to a --tls before it.
func (f *tlsFlags) request(flags *pflag.FlagSet, targets []string) (*api.TLSRequest, []string) {
	if !f.wanted(flags) {
		return nil, targets
	}
	r := &api.TLSRequest{OnDemandURL: f.onDemandURL}
	if on, err := strconv.ParseBool(f.issuer); err != nil {
		r.Issuer = api.Issuer(f.issuer)
	} else if on {
		r.Issuer = api.IssuerAuto
	}
	if i := slices.Index(targets, string(api.IssuerInternal)); i >= 0 && r.Issuer == api.IssuerAuto {
		r.Issuer = api.IssuerInternal
		targets = slices.Delete(slices.Clone(targets), i, i+1)
	}
	if flags.Changed("tls-wait") {
		r.Wait = &f.wait
	}
	if flags.Changed("tls-redirect") {
		r.Redirect = &f.redirect
	}
	r.CertificatePath, r.PrivateKeyPath = absolute(f.certificate), absolute(f.privateKey)
	return r, targets
}

// absolute returns the path that the proxy, which runs in another directory, finds
// the same file under.
func absolute(path string) string {
	if path == "" {
		return ""
	}
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
