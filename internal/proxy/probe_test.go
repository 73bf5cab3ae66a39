package proxy

import (
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
)

func TestPrintableTextDoesNotSteerTerminals(t *testing.T) {
	for in, want := range map[string]string{
		"plain, ümlaut 例":              "plain, ümlaut 例",
		"a\x1b[31mb\r\n\tc":            "a?[31mb???c",
		"\u009b31m":                    "?31m",
		"\u202eabc\u2066":              "?abc?",
		"\x7f":                         "?",
		"a\xffb":                       "a\ufffdb",
		strings.Repeat("a", 200):       strings.Repeat("a", 200),
		strings.Repeat("a", 201):       strings.Repeat("a", 200) + "...",
		strings.Repeat("a", 199) + "例": strings.Repeat("a", 199) + "...",
		"":                             "",
	} {
		if got := api.Printable(in); got != want {
			t.Errorf("Printable(%q) = %q, want %q", in, got, want)
		}
	}
}
