package cli

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/parachute-proxy/parachute/internal/api"
)

// checkTLSFlags refuses flags that contradict each other.
func checkTLSFlags(flags *pflag.FlagSet) error {
	issuer := textOf(flags, "tls")
	if tlsUnwanted(flags) && tlsWanted(flags) {
		return &api.Error{
			Code:    api.CodeInvalid,
			Message: "--tls=" + issuer + " contradicts the other flags for TLS",
			Hint:    "leave one of them out",
		}
	}
	return nil
}

// aboutTLS are the flags that are of no effect on a service without TLS.
var aboutTLS = []string{"tls-wait", "tls-redirect"}

// addTLS adds what the flags ask for of TLS to p. hasTLS tells whether the service has TLS
// already; it is asked only if that matters.
func addTLS(p api.Patch, flags *pflag.FlagSet, hasTLS func() (bool, error)) error {
	switch {
	case tlsWanted(flags):
		p.Set("tls", tlsRequest(flags))
		return nil
	case tlsUnwanted(flags):
		p.Set("tls", nil)
		hasTLS = func() (bool, error) { return false, nil }
	}
	given := slices.DeleteFunc(slices.Clone(aboutTLS), func(name string) bool { return !flags.Changed(name) })
	if len(given) == 0 {
		return nil
	}
	has, err := hasTLS()
	if err != nil {
		return err
	}
	for _, name := range given {
		switch {
		case has:
			on, _ := flags.GetBool(name)
			p.Set("tls."+strings.TrimPrefix(name, "tls-"), on)
		case VariableOf(flags.Lookup(name)) == "":
			return &api.Error{
				Code:    api.CodeInvalid,
				Message: fmt.Sprintf("--%s has no effect without --tls", name),
				Hint:    "add --tls, or leave it out",
			}
		}
		// What is in the environment may be meant for other deploys.
	}
	return nil
}

// tlsUnwanted reports whether the flags say that there is to be no HTTPS.
func tlsUnwanted(flags *pflag.FlagSet) bool {
	on, err := strconv.ParseBool(textOf(flags, "tls"))
	return err == nil && !on
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

// tlsRequest returns what the flags ask for of TLS.
func tlsRequest(flags *pflag.FlagSet) map[string]any {
	r := make(map[string]any)
	if issuer := textOf(flags, "tls"); issuer != "" {
		if on, err := strconv.ParseBool(issuer); err == nil && on {
			issuer = string(api.IssuerAuto)
		}
		r["issuer"] = issuer
	}
	for _, name := range aboutTLS {
		if flags.Changed(name) {
			r[strings.TrimPrefix(name, "tls-")], _ = flags.GetBool(name)
		}
	}
	for name, value := range map[string]string{
		"on_demand_url":    textOf(flags, "tls-on-demand-url"),
		"certificate_path": absolute(textOf(flags, "tls-certificate-path")),
		"private_key_path": absolute(textOf(flags, "tls-private-key-path")),
	} {
		if value != "" {
			r[name] = value
		}
	}
	return r
}

// takeIssuer returns the targets without an "internal" among them, which has no port: it
// belongs to a --tls before it.
func takeIssuer(flags *pflag.FlagSet, targets []string) []string {
	i := slices.Index(targets, string(api.IssuerInternal))
	on, err := strconv.ParseBool(textOf(flags, "tls"))
	if i < 0 || !(err == nil && on || textOf(flags, "tls") == string(api.IssuerAuto)) {
		return targets
	}
	_ = flags.Set("tls", string(api.IssuerInternal))
	return slices.Delete(slices.Clone(targets), i, i+1)
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
