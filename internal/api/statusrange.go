package api

import (
	"fmt"
	"strconv"
	"strings"
)

// StatusRanges are statuses of HTTP answers, such as 200-299 or 200,204,301.
type StatusRanges []StatusRange

// StatusRange is the statuses from From to To, both included.
type StatusRange struct{ From, To int }

// maxStatusRanges bounds the ranges that a health check has.
const maxStatusRanges = 32

// ParseStatusRanges returns the ranges that s names: statuses of final answers and, with
// a dash, ranges of them, with commas in between.
func ParseStatusRanges(s string) (StatusRanges, error) {
	var all StatusRanges
	for part := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			last = first
		}
		from, errFrom := parseStatus(first)
		to, errTo := parseStatus(last)
		if errFrom != nil || errTo != nil || from > to {
			return nil, fmt.Errorf("%.64q is not a status from 200 to 599, and not a range of them", strings.TrimSpace(part))
		}
		all = append(all, StatusRange{from, to})
	}
	if len(all) > maxStatusRanges {
		return nil, fmt.Errorf("%d ranges of statuses are more than the %d that a health check may have", len(all), maxStatusRanges)
	}
	return all, nil
}

func parseStatus(s string) (int, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 16)
	if err == nil && (n < 200 || n > 599) {
		err = strconv.ErrRange
	}
	return int(n), err
}

// Contain reports whether a status is in one of the ranges.
func (r StatusRanges) Contain(status int) bool {
	for _, one := range r {
		if status >= one.From && status <= one.To {
			return true
		}
	}
	return false
}

// String returns the ranges in the form that [ParseStatusRanges] reads.
func (r StatusRanges) String() string {
	parts := make([]string, len(r))
	for i, one := range r {
		parts[i] = strconv.Itoa(one.From)
		if one.To != one.From {
			parts[i] += "-" + strconv.Itoa(one.To)
		}
	}
	return strings.Join(parts, ",")
}

// resolveHealthyAnswer checks what the health check wants to be answered.
func (r DeployRequest) resolveHealthyAnswer(s *Spec) error {
	o := &s.Options
	statuses, err := ParseStatusRanges(o.HealthCheckStatus)
	if err != nil {
		return Invalid("the health check's status: %v", err).WithHint("write it as in %s or %s",
			Field("health_check_status").Is("200-399"), Field("health_check_status").Is("200,204,301"))
	}
	o.HealthCheckStatus = statuses.String()
	if strings.ContainsFunc(o.HealthCheckBody, IsControl) || len(o.HealthCheckBody) > MaxHealthCheckBody {
		return Invalid("the text of the health check must be part of one line and have at most %d bytes", MaxHealthCheckBody).
			WithHint("see %s", Field("health_check_body"))
	}
	return nil
}
