package cli

import (
	"path/filepath"
	"testing"

	"github.com/spf13/cobra"

	"github.com/parachute-proxy/parachute/internal/api"
)

// TestEnvironmentIsForAllDeploys, also for those that some of it is not about.
func TestEnvironmentIsForAllDeploys(t *testing.T) {
	t.Setenv("PARACHUTE_TARGET_CA", "/ca.pem")
	t.Setenv("PARACHUTE_TARGET_SERVER_NAME", "a.test")
	t.Setenv("PARACHUTE_STICKY_SAME_SITE", "lax")
	parse := func(args ...string) api.DeployRequest {
		t.Helper()
		cmd := new(cobra.Command)
		addDeployFlags(cmd)
		if err := cmd.Flags().Parse(args); err != nil {
			t.Fatal(err)
		}
		if err := FlagsFromEnv(cmd, "PARACHUTE_"); err != nil {
			t.Fatal(err)
		}
		p, err := deployPatch(cmd.Flags(), cmd.Flags().Args(), nil, func(api.Patch) (*api.ServiceStatus, error) { return nil, nil })
		if err != nil {
			t.Fatal(err)
		}
		req, err := p.Apply(nil)
		if err != nil {
			t.Fatal(err)
		}
		return req
	}
	plain := parse("web:1")
	if err := plain.Validate(); err != nil || plain.TargetCA+plain.TargetServerName+string(plain.StickySameSite) != "" {
		t.Errorf("a plain target: %+v, %v", plain, err)
	}
	if req := parse("HTTPS://web:1", "--sticky"); req.TargetCA != "/ca.pem" || req.TargetServerName != "a.test" || req.StickySameSite != "lax" {
		t.Errorf("a target over TLS: %+v", req)
	}
	if err := parse("web:1", "--target-ca", "/mine.pem").Validate(); api.ErrorCode(err) != api.CodeInvalid {
		t.Errorf("a flag that was given: %v, want it to be refused", err)
	}
}

// The proxy runs in another directory than who names a file.
func TestAuthorityOfTargetsIsTheFileThatTheCallerMeans(t *testing.T) {
	cmd := new(cobra.Command)
	AddDeploy(&Env{}, cmd)
	flags := cmd.Flags()
	if err := flags.Parse([]string{"--target-ca", "ca.pem"}); err != nil {
		t.Fatal(err)
	}
	want, err := filepath.Abs("ca.pem")
	if err != nil {
		t.Fatal(err)
	}
	if p, err := deployPatch(flags, []string{"https://web"}, nil, nil); err != nil || p["target_ca"] != want {
		t.Errorf("%q, %v, want %q", p["target_ca"], err, want)
	}
}
