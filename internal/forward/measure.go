package forward

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// Measure counts a request to r that was answered with status after took, unless the service wants
// requests for its path not to be counted.
func (r *Release) Measure(in *http.Request, status int, took time.Duration) {
	if excluded := r.Spec.Options.ExcludeMetricsPaths; len(excluded) > 0 && slices.Contains(excluded, r.targetPath(in)) {
		return
	}
	r.Traffic.Count(in.Method, status, took)
}

// targetPath returns the path of a request as a target of r gets it: without the longest prefix of
// the service that it has.
func (r *Release) targetPath(in *http.Request) string {
	path, longest := CleanPath(in.URL.Path), ""
	if r.Spec.Options.StripPathPrefix {
		for _, prefix := range r.Spec.Options.PathPrefixes {
			if len(prefix) > len(longest) && (path == prefix || strings.HasPrefix(path, prefix+"/")) {
				longest = prefix
			}
		}
	}
	if path = path[len(longest):]; path == "" {
		return "/"
	}
	return path
}
