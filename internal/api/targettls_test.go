package api

import (
	"strings"
	"testing"
)

func TestSettingsForTLSAreRefusedForPlainTargets(t *testing.T) {
	for _, target := range []string{"web:3000", "h2c://web:3000", "unix//run/app.sock"} {
		for field, change := range map[string]func(*DeployRequest){
			"target_ca":          func(r *DeployRequest) { r.TargetCA = "/ca.pem" },
			"target_server_name": func(r *DeployRequest) { r.TargetServerName = "a.test" },
			"target_insecure":    func(r *DeployRequest) { r.TargetInsecure = true },
		} {
			req := DeployRequest{Targets: []string{"https://web:3001", target}}
			change(&req)
			err := req.Validate()
			if ErrorCode(err) != CodeInvalid || !strings.Contains(err.Error(), "`"+field+"` is for https targets only; "+target) {
				t.Errorf("%s with %s: %v", field, target, err)
			}
			req.Targets = req.Targets[:1]
			if err := req.Validate(); err != nil {
				t.Errorf("%s: %v", field, err)
			}
		}
	}
	for name, req := range map[string]DeployRequest{
		"both":          {TargetCA: "/ca.pem", TargetInsecure: true},
		"relative path": {TargetCA: "ca.pem"},
		"no name":       {TargetServerName: "https://a.test"},
		"a port":        {TargetServerName: "a.test:443"},
	} {
		req.Targets = []string{"https://web"}
		if err := req.Validate(); ErrorCode(err) != CodeInvalid {
			t.Errorf("%s: %v, want it to be refused", name, err)
		}
	}
}
