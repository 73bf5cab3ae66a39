package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/parachute-proxy/parachute/internal/api"
)

// readSettingFiles puts what is in the files that p names into their place. They are the
// user's, and the proxy need not be able to read them.
func readSettingFiles(p api.Patch) error {
	for _, setting := range []struct{ key, flag string }{{"with", "with"}, {"client_ca", "client-ca"}} {
		file, ok := p[setting.key].(string)
		if !ok {
			continue
		}
		text, err := readSettingFile(setting.flag, file)
		if err != nil {
			return err
		}
		p.Set(setting.key, text)
	}
	if file, ok := p["basic_auth"].(string); ok {
		text, err := readSettingFile("basic-auth-file", file)
		if err != nil {
			return err
		}
		accounts, err := parseAccounts(text)
		if err != nil {
			return api.Invalid("--basic-auth-file: %s, %v", file, err)
		}
		p.Set("basic_auth", accounts)
	}
	return nil
}

// readSettingFile returns the text of a file that a flag names.
func readSettingFile(flag, file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", api.Invalid("--%s: %v", flag, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, api.MaxWith+1)) // more than that is refused
	switch {
	case err != nil:
		return "", api.Invalid("--%s: %v", flag, err)
	case strings.TrimSpace(string(text)) == "":
		return "", api.Invalid("--%s: %s is empty", flag, file).WithHint("to remove what the service has, use --unset %s", flag)
	}
	return string(text), nil
}

// parseAccounts reads lines of NAME:PASSWORD or NAME:HASH, as htpasswd -B writes them.
// Passwords do not leave this process: it hashes them by bcrypt with its usual cost, 10. Whoever asks
// for a page has the proxy compute a hash, and each step more doubles the time.
func parseAccounts(text string) ([]string, error) {
	var accounts []string
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" || line[0] == '#' {
			continue
		}
		name, secret, ok := strings.Cut(line, ":")
		switch {
		case !ok || name == "" || secret == "":
			return nil, fmt.Errorf("line %d: an account is written as NAME:PASSWORD or NAME:HASH", n)
		case api.IsPasswordHash(secret):
			if err := api.CheckPasswordHash(secret); err != nil {
				return nil, fmt.Errorf("line %d: what is behind the name is %w", n, err)
			}
		case isOtherHash(secret):
			return nil, fmt.Errorf("line %d: the hash is of a kind that is not supported; make one with: htpasswd -B, or caddy hash-password", n)
		default:
			hashed, err := bcrypt.GenerateFromPassword([]byte(secret), bcrypt.DefaultCost)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", n, err)
			}
			secret = string(hashed)
		}
		accounts = append(accounts, name+":"+secret)
	}
	if len(accounts) == 0 {
		return nil, fmt.Errorf("there is no account in it")
	}
	return accounts, nil
}

// isOtherHash reports whether a secret is a hash of a kind that htpasswd has beside bcrypt.
func isOtherHash(secret string) bool {
	for _, prefix := range []string{"$", "{SHA}", "{SSHA}"} {
		if strings.HasPrefix(secret, prefix) && len(secret) > 20 {
			return true
		}
	}
	return false
}
