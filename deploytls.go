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

// checkTLSFlags refuses flags that have no effect, or that contradict each other. What is
// in the environment may be meant for other deploys.
func checkTLSFlags(flags *pflag.FlagSet) error {
	wanted, issuer := tlsWanted(flags), textOf(flags, "tls")
	if on, err := strconv.ParseBool(issuer); err == nil && !on && wanted {
		return &api.Error{
			Code:    api.CodeInvalid,
			Message: "--tls=" + issuer + " contradicts the other flags for TLS",
			Hint:    "leave one of them out",
		}
	}
	if wanted {
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

// textOf returns the text of a flag.
func textOf(flags *pflag.FlagSet, name string) string { return flags.Lookup(name).Value.String() }

// tlsWanted reports whether the flags ask for HTTPS. Certificates of one's own, or on
// demand, are asked for to be used.
func tlsWanted(flags *pflag.FlagSet) bool {
	issuer := textOf(flags, "tls")
	on, err := strconv.ParseBool(issuer)
	return issuer != "" && (on || err != nil) ||
		flags.Changed("tls-certificate-path") || flags.Changed("tls-private-key-path") || flags.Changed("tls-on-demand-url")
}

// tlsRequest returns what the flags ask for, which is nil without HTTPS, and the targets.
// An "internal" among them, which has no port, belongs to a --tls before it.
func tlsRequest(flags *pflag.FlagSet, targets []string) (*api.TLSRequest, []string) {
	if !tlsWanted(flags) {
		return nil, targets
	}
	r := &api.TLSRequest{OnDemandURL: textOf(flags, "tls-on-demand-url")}
	if on, err := strconv.ParseBool(textOf(flags, "tls")); err != nil {
		r.Issuer = api.Issuer(textOf(flags, "tls"))
	} else if on {
		r.Issuer = api.IssuerAuto
	}
	if i := slices.Index(targets, string(api.IssuerInternal)); i >= 0 && r.Issuer == api.IssuerAuto {
		r.Issuer = api.IssuerInternal
		targets = slices.Delete(slices.Clone(targets), i, i+1)
	}
	for name, to := range map[string]**bool{"tls-wait": &r.Wait, "tls-redirect": &r.Redirect} {
		if flags.Changed(name) {
			on, _ := flags.GetBool(name)
			*to = &on
		}
	}
	r.CertificatePath, r.PrivateKeyPath = absolute(textOf(flags, "tls-certificate-path")), absolute(textOf(flags, "tls-private-key-path"))
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
