package api

import (
	"regexp"
	"strings"
)

// serviceName is what a service may be called: what is safe in a file name, in
// a URL and on a terminal. The star is for services named after a wildcard host.
var serviceName = regexp.MustCompile(`^(\*\.)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,250}[A-Za-z0-9])?$`)

// ValidateServiceName returns an [Error] with [CodeInvalid] if no service can be
// called name.
func ValidateServiceName(name string) error {
	if !serviceName.MatchString(name) || strings.Contains(name, "..") {
		return Invalid("%.64q is not a valid service name", name).
			WithHint("use letters, digits, dots, dashes and underscores, and begin and end with a letter or digit")
	}
	return nil
}

// DefaultServiceName returns the name of a service that was given none.
func DefaultServiceName(hosts []string) string {
	if len(hosts) > 0 {
		return hosts[0]
	}
	return "default"
}
