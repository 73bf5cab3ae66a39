package proxy

import (
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// readTargetCA returns what the file of [api.Options.TargetCA] has in it, if it is of use
// now. Its errors are for who asked for a deployment.
func readTargetCA(path string, now time.Time) (string, error) {
	if path == "" {
		return "", nil
	}
	const field = api.Field("target_ca")
	content, _, err := readPEM(path)
	if err != nil {
		return "", api.Invalid("%s", api.Printable(err.Error())).
			WithHint("%s must be a PEM file on the proxy's machine that the user of the proxy can read", field)
	}
	authorities := api.CertificatesIn(string(content))
	if len(authorities) == 0 {
		return "", api.Invalid("%s has no certificate in it", api.Printable(path)).
			WithHint("%s must be a PEM file with certificates of authorities, which begin with -----BEGIN CERTIFICATE-----", field)
	}
	latest := authorities[0]
	for _, c := range authorities {
		if c.NotAfter.After(latest.NotAfter) {
			latest = c
		}
	}
	if now.After(latest.NotAfter) {
		return "", api.Invalid("every certificate in %s has expired, the last one on %s", api.Printable(path), latest.NotAfter.UTC().Format(time.DateOnly)).
			WithHint("put the authority's new certificate there")
	}
	return string(content), nil
}
