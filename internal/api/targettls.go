package api

import (
	"path/filepath"
	"strings"
)

// resolveTargetTLS checks the settings for TLS between the proxy and the targets.
func (r DeployRequest) resolveTargetTLS(s *Spec) error {
	o := &s.Options
	var given Field
	switch {
	case o.TargetCA != "":
		given = "target_ca"
	case o.TargetServerName != "":
		given = "target_server_name"
	case o.TargetInsecure:
		given = "target_insecure"
	default:
		return nil
	}
	for _, t := range s.AllTargets() {
		switch {
		case t.Network == "unix":
			return Invalid("%s is for https targets only; %s is a socket, which gets plain HTTP", given, t).
				WithHint("leave %s out", given)
		case t.Scheme != "https":
			return Invalid("%s is for https targets only; %s gets plain HTTP", given, t).
				WithHint("write the target as https://%s, or leave %s out", t.Address, given)
		}
	}
	if o.TargetCA != "" {
		if err := checkFile(o.TargetCA); err != nil {
			return err
		}
		if o.TargetInsecure {
			return Invalid("%s checks no certificate, so %s has no effect", Field("target_insecure"), Field("target_ca")).
				WithHint("leave one of them out")
		}
	}
	if o.TargetServerName != "" && checkTargetHost(o.TargetServerName) != nil {
		return Invalid("%.64q is not a valid name of a certificate", o.TargetServerName).
			WithHint("write a host name or an address in %s, without a port", Field("target_server_name"))
	}
	o.TargetServerName = strings.ToLower(strings.TrimSuffix(o.TargetServerName, "."))
	return nil
}

// checkFile reports why a path cannot be that of a file on the proxy's machine.
func checkFile(path string) error {
	if !filepath.IsAbs(path) || strings.ContainsFunc(path, IsControl) || len(path) > 4096 {
		return Invalid("%.64q is not the absolute path of a file", path)
	}
	return nil
}
