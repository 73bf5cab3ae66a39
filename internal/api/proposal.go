package api

import (
	"net/url"
	"strings"
)

// Proposal is a deployment that is about to switch. Who is asked whether it may gets it:
// an answer of 2xx allows it, unless it is {"allow": false, "reason": "..."}.
type Proposal struct {
	// Deployment is its id: the same question may come twice.
	Deployment string `json:"deployment"`
	Service    string `json:"service"`
	// Serving is the release that serves now; absent if none does.
	Serving int      `json:"serving,omitempty"`
	Targets []string `json:"targets"`
	Hosts   []string `json:"hosts,omitempty"`
	// Changes are the settings that would differ, each as "name: old -> new".
	Changes []string `json:"changes,omitempty"`
	// From is the release that is rolled back to; absent if it is no rollback.
	From int  `json:"from,omitempty"`
	Note Note `json:"note,omitzero"`
}

// resolveBeforeSwitch checks who is asked before the switch.
func (r DeployRequest) resolveBeforeSwitch(*Spec) error {
	if r.BeforeSwitch == "" {
		return nil
	}
	return CheckURL(r.BeforeSwitch)
}

// CheckURL returns an [Error] with [CodeInvalid] if text is not an http or https URL.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || len(text) > 2048 || strings.ContainsFunc(text, IsControl) {
		return Invalid("%.64q is not an http or https URL", text)
	}
	return nil
}
