package api

import (
	"fmt"
	"net/textproto"
	"strings"
)

// MaxLogFields bounds the header fields that the log has besides, of requests and of answers.
const MaxLogFields = 32

// resolveLogFields checks the names of header fields for the log, and the paths that are not
// measured. Names are kept as requests have them in a map of header fields.
func (r DeployRequest) resolveLogFields(s *Spec) error {
	o := &s.Options
	for _, list := range []struct {
		field Field
		names []string
		to    *[]string
	}{
		{"log_request_headers", r.LogRequestHeaders, &o.LogRequestHeaders},
		{"log_response_headers", r.LogResponseHeaders, &o.LogResponseHeaders},
	} {
		if len(list.names) > MaxLogFields {
			return Invalid("%s can name at most %d header fields", list.field, MaxLogFields)
		}
		var err error
		if *list.to, err = normalizeAll(list.names, fieldName); err != nil {
			return Invalid("%s: %v", list.field, err)
		}
	}
	const paths = Field("exclude_metrics_paths")
	if len(r.ExcludeMetricsPaths) > MaxPrefixes {
		return Invalid("%s can name at most %d paths", paths, MaxPrefixes)
	}
	var err error
	if o.ExcludeMetricsPaths, err = normalizeAll(r.ExcludeMetricsPaths, plainPath); err != nil {
		return Invalid("%s: %v", paths, err)
	}
	return nil
}

// fieldName returns the name of a header field in its usual spelling.
func fieldName(name string) (string, error) {
	return textproto.CanonicalMIMEHeaderKey(name), checkFieldName(name)
}

// plainPath returns a path of a URL as it is, if it is one.
func plainPath(path string) (string, error) {
	if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "?#") || strings.ContainsFunc(path, IsControl) || len(path) > 2048 {
		return "", fmt.Errorf("%.64q is not a path, such as /up", path)
	}
	return path, nil
}
