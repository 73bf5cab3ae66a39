package cli

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/parachute-proxy/parachute/internal/api"
)

func TestPasswordsAreHashedBeforeTheyLeave(t *testing.T) {
	const hash = "$2y$05$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG"
	accounts, err := parseAccounts("# people\n\nbob:" + hash + "\r\neve:a:pass word\n")
	if err != nil || len(accounts) != 2 || accounts[0] != "bob:"+hash {
		t.Fatalf("%q (%v)", accounts, err)
	}
	if name, secret, _ := strings.Cut(accounts[1], ":"); name != "eve" || !api.IsPasswordHash(secret) || strings.Contains(secret, "pass word") {
		t.Errorf("the second account is %q", accounts[1])
	} else if cost, _ := bcrypt.Cost([]byte(secret)); cost != 10 {
		t.Errorf("strangers have the proxy compute hashes with a cost of %d", cost)
	}
	for text, want := range map[string]string{
		"bob":          "line 1: an account is written as",
		"# x\n:secret": "line 2: an account is written as",
		"bob:":         "line 1: an account is written as",
		"bob:$apr1$v2hoD8Vv$5D4OzCnnSRGMqPbXtoFzu1": "line 1: the hash is of a kind that is not supported",
		"bob:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=":     "line 1: the hash is of a kind that is not supported",
		"# nobody":                                  "there is no account in it",
	} {
		if _, err := parseAccounts(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// TestValuesWithCommasAreOneValue where a header field or a redirect has one.
func TestValuesWithCommasAreOneValue(t *testing.T) {
	var names []string
	for _, s := range api.Settings() {
		if s.Verbatim {
			names = append(names, s.Name)
		}
	}
	if want := []string{"header", "redirect", "rewrite"}; !slices.Equal(names, want) {
		t.Errorf("these are given one by one: %q, want %q", names, want)
	}
}
