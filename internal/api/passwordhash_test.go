package api

import (
	"strings"
	"testing"
)

// TestHashesThatAreDearToComputeAreRefused: whoever has no password can have them computed.
func TestHashesThatAreDearToComputeAreRefused(t *testing.T) {
	bcrypt := func(cost string) string { return "$2a$" + cost + "$" + strings.Repeat("a", 53) }
	argon2id := func(parameters string) string { return "$argon2id$v=19$" + parameters + "$c2FsdHNhbHQ$a2V5a2V5a2V5" }
	for hash, want := range map[string]string{
		bcrypt("04"):                                       "",
		bcrypt("14"):                                       "",
		argon2id("m=262144,t=10,p=16"):                     "",
		argon2id("m=1,t=1,p=1"):                            "",
		bcrypt("03"):                                       "cost is not from 4 to 14",
		bcrypt("15"):                                       "cost is not from 4 to 14",
		bcrypt("31"):                                       "cost is not from 4 to 14",
		argon2id("m=262145,t=1,p=1"):                       "memory (m) is not from 1 to 262144 KiB",
		argon2id("m=4294967295,t=1,p=1"):                   "memory (m)",
		argon2id("m=0,t=1,p=1"):                            "memory (m)",
		argon2id("m=1,t=0,p=1"):                            "iterations (t) are not from 1 to 10",
		argon2id("m=1,t=11,p=1"):                           "iterations (t)",
		argon2id("m=1,t=1,p=0"):                            "threads (p) are not from 1 to 16",
		argon2id("m=1,t=1,p=17"):                           "threads (p)",
		argon2id("m=1,t=1,p=" + strings.Repeat("9", 99)):   "threads (p)",
		argon2id("1,1,1"):                                  "no hash",
		argon2id("m=1,t=1,p=1") + strings.Repeat("a", 512): "no hash",
		"hiccup": "no hash",
		"":       "no hash",
	} {
		err := CheckPasswordHash(hash)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", hash, err, want)
		}
		if strings.HasPrefix(hash, "$") {
			_, err := DeployRequest{Targets: []string{"web:1"}, BasicAuth: []string{"bob:" + hash}}.Resolve()
			if (err == nil) != (want == "") {
				t.Errorf("a deploy with %s: %v", hash, err)
			}
		}
	}
}
