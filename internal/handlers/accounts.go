package handlers

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/parachute-proxy/parachute/internal/api"
)

// accountError is what is wrong with the account of a name.
type accountError struct {
	name string
	err  error
}

func (e *accountError) Error() string {
	return fmt.Sprintf("what is behind the name %.64q is %v; make one by htpasswd -B or parachute caddy hash-password", e.name, e.err)
}

// checkAccounts refuses passwords that are not hashed, and hashes that cost too much: anybody
// can have them computed. Caddy itself would find that out when somebody comes.
func checkAccounts(lists ...any) (err error) {
	for _, list := range lists {
		eachHandler(list, func(handler object) {
			provider := at(at(handler, "providers"), "http_basic")
			algorithm, named := at(provider, "hash")["algorithm"].(string)
			if handler["handler"] != "authentication" || named && algorithm != "bcrypt" && algorithm != "argon2id" {
				return // a plugin has bounds of its own
			}
			accounts, _ := provider["accounts"].([]any)
			for _, of := range accounts {
				account, _ := of.(object)
				name, _ := account["username"].(string)
				password, _ := account["password"].(string)
				if problem := api.CheckPasswordHash(resolved(password)); problem != nil && err == nil {
					err = &accountError{name, problem}
				}
			}
		})
	}
	return err
}

// resolved returns what Caddy takes a password in its JSON for: it can have placeholders, and
// its hash be in Base64.
func resolved(password string) string {
	password = caddy.NewReplacer().ReplaceKnown(password, "")
	if !strings.HasPrefix(password, "$") {
		if b, err := base64.StdEncoding.DecodeString(password); err == nil {
			return string(b)
		}
	}
	return password
}
