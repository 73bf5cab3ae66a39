package api

import (
	"fmt"
	"slices"
	"testing"
)

func TestFieldsForTheLogAreNames(t *testing.T) {
	t.Parallel()
	r := minimal()
	r.LogRequestHeaders, r.LogResponseHeaders = []string{"user-agent", "X-A", "User-Agent"}, []string{"ETag"}
	r.ExcludeMetricsPaths = []string{"/up", "/up/", "/up"}
	s, err := r.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	o := s.Options
	if !slices.Equal(o.LogRequestHeaders, []string{"User-Agent", "X-A"}) || !slices.Equal(o.LogResponseHeaders, []string{"Etag"}) || !slices.Equal(o.ExcludeMetricsPaths, []string{"/up", "/up/"}) {
		t.Errorf("%q %q %q", o.LogRequestHeaders, o.LogResponseHeaders, o.ExcludeMetricsPaths)
	}
	many := make([]string, MaxLogFields+1)
	for i := range many {
		many[i] = fmt.Sprint("X-", i)
	}
	for name, bad := range map[string]DeployRequest{
		"no name":    {LogRequestHeaders: []string{"User Agent"}},
		"a value":    {LogResponseHeaders: []string{"A: b"}},
		"empty":      {LogRequestHeaders: []string{""}},
		"too many":   {LogRequestHeaders: many},
		"no path":    {ExcludeMetricsPaths: []string{"up"}},
		"a query":    {ExcludeMetricsPaths: []string{"/up?x"}},
		"a line end": {ExcludeMetricsPaths: []string{"/up\n"}},
	} {
		bad.Targets = r.Targets
		if ErrorCode(bad.Validate()) != CodeInvalid {
			t.Errorf("%s is accepted", name)
		}
	}
}
