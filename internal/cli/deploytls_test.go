package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/parachute-proxy/parachute/internal/api"
)

// parseDeploy returns what the arguments of deploy ask for, of a service that has TLS or not.
func parseDeploy(t *testing.T, hasTLS bool, args ...string) (api.Patch, error) {
	t.Helper()
	cmd := new(cobra.Command)
	addDeployFlags(cmd)
	unset := addUnsetFlag(cmd)
	if err := cmd.Flags().Parse(args); err != nil {
		return nil, err
	}
	return deployPatch(cmd.Flags(), cmd.Flags().Args(), *unset, func(api.Patch) (*api.ServiceStatus, error) { return &api.ServiceStatus{TLS: hasTLS}, nil })
}

func TestTLSFlagsMeanWhatTheySay(t *testing.T) {
	for line, want := range map[string]string{
		"web:1 --host a.test":                                             `absent`,
		"web:1 --host a.test --tls":                                       `{"issuer":"auto"}`,
		"--tls web:1 --host a.test":                                       `{"issuer":"auto"}`,
		"web:1 --host a.test --tls=auto":                                  `{"issuer":"auto"}`,
		"web:1 --host a.test --tls=true":                                  `{"issuer":"auto"}`,
		"web:1 --host a.test --tls=1":                                     `{"issuer":"auto"}`,
		"web:1 --host a.test --tls=false":                                 `null`,
		"web:1 --host a.test --unset tls":                                 `null`,
		"web:1 --host a.test --tls --unset tls-redirect":                  `{"issuer":"auto","redirect":null}`,
		"web:1 --host a.test --tls=internal":                              `{"issuer":"internal"}`,
		"web:1 --host a.test --tls internal":                              `{"issuer":"internal"}`,
		"--tls internal web:1 --host a.test":                              `{"issuer":"internal"}`,
		"web:1 --host a.test --tls=letsencrypt":                           `{"issuer":"letsencrypt"}`,
		"web:1 --host a.test --tls --tls-wait=false --tls-redirect=false": `{"issuer":"auto","redirect":false,"wait":false}`,
		"web:1 --tls-certificate-path /c.pem --tls-private-key-path /k":   `{"certificate_path":"/c.pem","private_key_path":"/k"}`,
		"web:1 --tls-on-demand-url /ask":                                  `{"on_demand_url":"/ask"}`,
	} {
		p, err := parseDeploy(t, false, strings.Fields(line)...)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		got := "absent"
		if p.Names("tls") {
			b, _ := json.Marshal(p["tls"])
			got = string(b)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
		if targets := p["targets"].([]string); len(targets) != 1 || targets[0] != "web:1" {
			t.Errorf("%s: the targets are %q", line, targets)
		}
	}
}

func TestTLSFlagsWithoutEffectAreRefused(t *testing.T) {
	for line, want := range map[string]string{
		"web:1 --host a.test --tls-wait=false":                 "--tls-wait has no effect without --tls",
		"web:1 --host a.test --tls-redirect=false":             "--tls-redirect has no effect without --tls",
		"web:1 --host a.test --tls=false --tls-redirect=false": "--tls-redirect has no effect without --tls",
		"web:1 --tls=false --tls-on-demand-url /ask":           "--tls=false contradicts the other flags for TLS",
		"web:1 --sticky --unset sticky":                        "--sticky is given and in --unset",
		"web:1 --unset stickyness":                             `unknown setting "stickyness"`,
	} {
		if _, err := parseDeploy(t, false, strings.Fields(line)...); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
	const afterReset = "--tls-redirect has no effect without --tls"
	if p, err := parseDeploy(t, true, "web:1", "--reset", "--tls-redirect=false"); err == nil || err.Error() != afterReset {
		t.Errorf("with --reset, the service's own TLS is not kept: %v, %v, want %s", p, err, afterReset)
	}
	p, err := parseDeploy(t, true, "web:1", "--tls-redirect=false")
	if b, _ := json.Marshal(p["tls"]); err != nil || string(b) != `{"redirect":false}` {
		t.Errorf("a service with TLS: %s, %v", b, err)
	}
}

// Who has no name in the environment, or does not want it told, leaves it out.
func TestTheNameOfTheCallerIsNotWhatUnsetContradicts(t *testing.T) {
	t.Setenv("SUDO_USER", "alice")
	for line, want := range map[string]string{
		"web:1":                     `{"by":"alice"}`,
		"web:1 --by bob":            `{"by":"bob"}`,
		"web:1 --unset by":          `{"by":null}`,
		"web:1 --by bob --unset by": "--by is given and in --unset",
	} {
		p, err := parseDeploy(t, false, strings.Fields(line)...)
		b, _ := json.Marshal(p["note"])
		got := string(b)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
}
