package api

import (
	"path/filepath"
	"strings"
)

// resolveErrorPages checks what is said of the pages that clients get in place of an answer.
func (r DeployRequest) resolveErrorPages(s *Spec) error {
	o := &s.Options
	if dir := o.ErrorPages; dir != "" && (!filepath.IsAbs(dir) || strings.ContainsFunc(dir, IsControl) || len(dir) > 4096) {
		return Invalid("%.64q is not the absolute path of a directory", dir).WithHint("see %s", Field("error_pages"))
	}
	if o.InterceptErrors == "" {
		return nil
	}
	statuses, err := ParseStatusRanges(o.InterceptErrors)
	for _, one := range statuses {
		if err == nil && one.From < 400 {
			err = Invalid("%d is not an error", one.From)
		}
	}
	if err != nil {
		return Invalid("the errors to replace: %v", err).WithHint("name statuses from 400 to 599, as in %s or %s",
			Field("intercept_errors").Is("500-599"), Field("intercept_errors").Is("404,502,503"))
	}
	o.InterceptErrors = statuses.String()
	return nil
}
