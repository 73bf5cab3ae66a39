package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/bcrypt"

	"github.com/parachute-proxy/parachute/internal/api"
)

func TestPasswordsAreHashedBeforeTheyLeave(t *testing.T) {
	const hash = "$2y$05$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG"
	parsed, err := parseAccounts("# people\n\nbob:" + hash + "\r\neve:a:pass word\n")
	if err != nil {
		t.Fatal(err)
	}
	accounts, err := parsed.hashed(func() ([]string, error) { return nil, nil })
	if err != nil || len(accounts) != 2 || accounts[0] != "bob:"+hash {
		t.Fatalf("%q (%v)", accounts, err)
	}
	if name, secret, _ := strings.Cut(accounts[1], ":"); name != "eve" || !api.IsPasswordHash(secret) || strings.Contains(secret, "pass word") {
		t.Errorf("the second account is %q", accounts[1])
	} else if cost, _ := bcrypt.Cost([]byte(secret)); cost != 10 {
		t.Errorf("strangers have the proxy compute hashes with a cost of %d", cost)
	}
	for secret, same := range map[string]bool{"eve:a:pass word": true, "eve:other": false, "bob:a:pass word": false} {
		parsed, err := parseAccounts(secret)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parsed.hashed(func() ([]string, error) { return accounts, nil })
		if err != nil || same != (again[0] == accounts[1]) {
			t.Errorf("deployed again, %s is %q (%v), and was %q", secret, again, err, accounts)
		}
	}
	for text, want := range map[string]string{
		"bob:x\n\nbob:y":                 "line 3: \"bob\" has an account in line 1 already",
		"bob:" + strings.Repeat("x", 73): "line 1: the password is longer than 72 bytes",
		"bob":                            "line 1: an account is written as",
		"# x\n:secret":                   "line 2: an account is written as",
		"bob:":                           "line 1: an account is written as",
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

// TestPasswordsThatTheServiceHasKeepTheirHashes, so that a deploy of the same file changes nothing.
func TestPasswordsThatTheServiceHasKeepTheirHashes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "people")
	if err := os.WriteFile(file, []byte("bob:hiccup\neve:secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const bob = "bob:$2a$04$yR6tWXCi16GOg2Qpx3UGKuv1l94Ck9Q4JJGEs9p9BY5cfirFnXJ3C"
	service := func(p api.Patch) (*api.ServiceStatus, error) {
		if name, err := p.Service(); err != nil || name != "a.test" {
			return nil, fmt.Errorf("asked for is %q (%w)", name, err)
		}
		return &api.ServiceStatus{Active: &api.ReleaseStatus{Options: api.Options{BasicAuth: []string{bob}}}}, nil
	}
	cmd := new(cobra.Command)
	addDeployFlags(cmd)
	if err := cmd.Flags().Parse([]string{"--host", "a.test", "--basic-auth-file", file}); err != nil {
		t.Fatal(err)
	}
	p, err := deployPatch(cmd.Flags(), []string{"web:1"}, nil, service)
	if err != nil {
		t.Fatal(err)
	}
	if list, _ := p["basic_auth"].([]string); len(list) != 2 || list[0] != bob || !strings.HasPrefix(list[1], "eve:$2a$10$") {
		t.Errorf("the accounts are %q", list)
	}
}
