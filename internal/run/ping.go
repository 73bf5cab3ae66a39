package run

import (
	"fmt"
	"path"
	"strings"

	"github.com/parachute-proxy/parachute/internal/api"
)

// CheckPingPath returns an error for what cannot be the path that load balancers in front ask: it
// has to be one that a request can have, and not that of the root, which is the page of a site.
func CheckPingPath(p string) error {
	if !strings.HasPrefix(p, "/") || p == "/" || path.Clean(p) != p || strings.ContainsAny(p, "?#%") || strings.ContainsFunc(p, api.IsControl) || len(p) > 256 {
		return fmt.Errorf("%.64q is not a path below the root, such as /ping", p)
	}
	return nil
}
