package parachute

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/parachute-proxy/parachute/internal/api"
)

// parseDeploy returns what the arguments of deploy ask for.
func parseDeploy(t *testing.T, args ...string) (api.DeployRequest, error) {
	t.Helper()
	cmd := new(cobra.Command)
	addDeployFlags(cmd)
	if err := cmd.Flags().Parse(args); err != nil {
		return api.DeployRequest{}, err
	}
	return deployRequest(cmd.Flags(), cmd.Flags().Args())
}

func TestTLSFlagsMeanWhatTheySay(t *testing.T) {
	for line, want := range map[string]string{
		"web:1 --host a.test":                                             `null`,
		"web:1 --host a.test --tls":                                       `{"issuer":"auto"}`,
		"--tls web:1 --host a.test":                                       `{"issuer":"auto"}`,
		"web:1 --host a.test --tls=auto":                                  `{"issuer":"auto"}`,
		"web:1 --host a.test --tls=true":                                  `{"issuer":"auto"}`,
		"web:1 --host a.test --tls=1":                                     `{"issuer":"auto"}`,
		"web:1 --host a.test --tls=false":                                 `null`,
		"web:1 --host a.test --tls=internal":                              `{"issuer":"internal"}`,
		"web:1 --host a.test --tls internal":                              `{"issuer":"internal"}`,
		"--tls internal web:1 --host a.test":                              `{"issuer":"internal"}`,
		"web:1 --host a.test --tls=letsencrypt":                           `{"issuer":"letsencrypt"}`,
		"web:1 --host a.test --tls --tls-wait=false --tls-redirect=false": `{"issuer":"auto","wait":false,"redirect":false}`,
		"web:1 --tls-certificate-path /c.pem --tls-private-key-path /k":   `{"certificate_path":"/c.pem","private_key_path":"/k"}`,
		"web:1 --tls-on-demand-url /ask":                                  `{"on_demand_url":"/ask"}`,
	} {
		req, err := parseDeploy(t, strings.Fields(line)...)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if got, _ := json.Marshal(req.TLS); string(got) != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
		if len(req.Targets) != 1 || req.Targets[0] != "web:1" {
			t.Errorf("%s: the targets are %q", line, req.Targets)
		}
	}
}

func TestTLSFlagsWithoutEffectAreRefused(t *testing.T) {
	for line, want := range map[string]string{
		"web:1 --host a.test --tls-wait=false":                 "--tls-wait has no effect without --tls",
		"web:1 --host a.test --tls-redirect=false":             "--tls-redirect has no effect without --tls",
		"web:1 --host a.test --tls=false --tls-redirect=false": "--tls-redirect has no effect without --tls",
		"web:1 --tls=false --tls-on-demand-url /ask":           "--tls=false contradicts the other flags for TLS",
	} {
		if _, err := parseDeploy(t, strings.Fields(line)...); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
}
