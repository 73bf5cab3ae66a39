package cli

import (
	"strings"
	"testing"
)

// That JSON is wanted is known although something else is wrong.
func TestWishForJSONIsFound(t *testing.T) {
	t.Setenv("PARACHUTE_OUTPUT", "")
	for line, want := range map[string]bool{
		"":                                    false,
		"list":                                false,
		"list -o json":                        true,
		"list -ojson":                         true,
		"list --output=json":                  true,
		"list -qo json":                       true,
		"list -q -o json":                     true,
		"deploy web:1 --hsot a.test -o json":  true,
		"deploy -o json web:1 --hsot a.test":  true,
		"deploy web:1 --force --output json":  true,
		"deploy web:1 --drain-timeout -o":     false,
		"deploy web:1 -o text":                false,
		"deploy web:1 --service json -o text": false,
		"deploy web:1 -o xml":                 false,
	} {
		if got := wantsJSON(strings.Fields(line)); got != want {
			t.Errorf("%s: %t", line, got)
		}
	}
	t.Setenv("PARACHUTE_OUTPUT", "json")
	if !wantsJSON([]string{"list"}) || wantsJSON([]string{"list", "-o", "text"}) {
		t.Error("the environment is not what a flag would be, or more")
	}
}
