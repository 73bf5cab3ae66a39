package parachute

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/parachute-proxy/parachute/internal/proxy"
)

// parseDeploy returns what the arguments of deploy ask for.
func parseDeploy(t *testing.T, args ...string) (proxy.DeployRequest, error) {
	t.Helper()
	var f deployFlags
	flags := pflag.NewFlagSet("deploy", pflag.ContinueOnError)
	f.register(flags)
	if err := flags.Parse(args); err != nil {
		return proxy.DeployRequest{}, err
	}
	if err := f.tls.check(flags); err != nil {
		return proxy.DeployRequest{}, err
	}
	return f.request(flags, flags.Args()), nil
}

func TestTLSFlagsMeanWhatTheySay(t *testing.T) {
	for line, want := range map[string]string{
		"web:1 --host a.test":                                                    `null`,
		"web:1 --host a.test --tls":                                              `{"issuer":""}`,
		"--tls web:1 --host a.test":                                              `{"issuer":""}`,
		"web:1 --host a.test --tls=auto":                                         `{"issuer":""}`,
		"web:1 --host a.test --tls=true":                                         `{"issuer":""}`,
		"web:1 --host a.test --tls=false":                                        `null`,
		"web:1 --host a.test --tls=internal":                                     `{"issuer":"internal"}`,
		"web:1 --host a.test --tls internal":                                     `{"issuer":"internal"}`,
		"--tls internal web:1 --host a.test":                                     `{"issuer":"internal"}`,
		"web:1 --host a.test --tls=letsencrypt":                                  `{"issuer":"letsencrypt"}`,
		"web:1 --host a.test --tls --tls-wait=false --tls-redirect=false":        `{"issuer":"","wait":false,"redirect":false}`,
		"web:1 --tls-certificate-path /c.pem --tls-private-key-path /d/../k.pem": `{"issuer":"","certificate_path":"/c.pem","private_key_path":"/k.pem"}`,
		"web:1 --tls-on-demand-url /ask":                                         `{"issuer":"","on_demand_url":"/ask"}`,
	} {
		req, err := parseDeploy(t, strings.Fields(line)...)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		got, _ := json.Marshal(req.TLS)
		text := strings.Replace(string(got), `{`, `{"issuer":"",`, 1)
		if strings.Contains(text, `"issuer":"internal"`) || strings.Contains(text, `"issuer":"letsencrypt"`) || text == "null" {
			text = string(got)
		}
		if text = strings.Replace(text, `"",}`, `""}`, 1); text != want {
			t.Errorf("%s: %s, want %s", line, text, want)
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
	} {
		if _, err := parseDeploy(t, strings.Fields(line)...); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
}
