package cli

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/parachute-proxy/parachute/internal/api"
)

// readSettingFiles puts what is in the files that p names into their place. They are the
// user's, and the proxy need not be able to read them. service returns what the service has, nil if
// there is none; it is called only if that matters.
func readSettingFiles(p api.Patch, service existing) error {
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
		hashed, err := accounts.hashed(func() ([]string, error) { return accountsOf(p, service) })
		if err != nil {
			return err
		}
		p.Set("basic_auth", hashed)
	}
	return nil
}

// nameFile has an error of the proxy that tells a line of a setting name the file that the line is in,
// which the proxy does not know.
func nameFile(err error, place, file string) {
	if e, ok := errors.AsType[*api.Error](err); ok {
		field := api.Field(place).String() + ", line "
		if rest, ok := strings.CutPrefix(e.Message, field); ok {
			e.Message = fmt.Sprintf("%s %s, line %s", api.Field(place), file, rest)
		}
	}
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

// account is a line of a file of accounts.
type account struct {
	name, secret string
	line         int
	// plain says that secret is a password, and not its hash.
	plain bool
}

type accounts []account

// parseAccounts reads lines of NAME:PASSWORD or NAME:HASH, as htpasswd -B writes them.
func parseAccounts(text string) (all accounts, err error) {
	lines := make(map[string]int)
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" || line[0] == '#' {
			continue
		}
		name, secret, ok := strings.Cut(line, ":")
		a := account{name, secret, n, false}
		switch {
		case !ok || name == "" || secret == "":
			return nil, fmt.Errorf("line %d: an account is written as NAME:PASSWORD or NAME:HASH", n)
		case lines[name] > 0:
			return nil, fmt.Errorf("line %d: %.64q has an account in line %d already", n, name, lines[name])
		case api.IsPasswordHash(secret):
			if err := api.CheckPasswordHash(secret); err != nil {
				return nil, fmt.Errorf("line %d: what is behind the name is %w", n, err)
			}
		case isOtherHash(secret):
			return nil, fmt.Errorf("line %d: the hash is of a kind that is not supported; make one with: htpasswd -B, or parachute caddy hash-password", n)
		case len(secret) > maxBcryptPassword:
			return nil, fmt.Errorf("line %d: the password is longer than %d bytes", n, maxBcryptPassword)
		default:
			a.plain = true
		}
		lines[name] = n
		all = append(all, a)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("there is no account in it")
	}
	return all, nil
}

// maxBcryptPassword is how many bytes of a password bcrypt looks at.
const maxBcryptPassword = 72

// hashed returns the accounts as the API has them. Passwords do not leave this process: it hashes
// them by bcrypt with its usual cost, 10. Whoever asks for a page has the proxy compute a hash, and each step
// more doubles the time. A password that the service has already keeps its hash, among those that stored
// returns: no deploy changes something that is the same, and the proxy need not compute it again.
func (all accounts) hashed(stored func() ([]string, error)) ([]string, error) {
	texts := make([]string, len(all))
	hashes := make(map[string]string)
	if slices.ContainsFunc(all, func(a account) bool { return a.plain }) {
		list, err := stored()
		if err != nil {
			return nil, err
		}
		for _, text := range list {
			name, hash, _ := strings.Cut(text, ":")
			hashes[name] = hash
		}
	}
	for i, a := range all {
		if hash := hashes[a.name]; a.plain && bcrypt.CompareHashAndPassword([]byte(hash), []byte(a.secret)) == nil {
			a.secret = hash
		} else if a.plain {
			made, err := bcrypt.GenerateFromPassword([]byte(a.secret), bcrypt.DefaultCost)
			if err != nil {
				return nil, api.Invalid("--basic-auth-file: line %d: %v", a.line, err)
			}
			a.secret = string(made)
		}
		texts[i] = a.name + ":" + a.secret
	}
	return texts, nil
}

// accountsOf returns the accounts that the service of p has.
func accountsOf(p api.Patch, service existing) ([]string, error) {
	p = maps.Clone(p)
	delete(p, "basic_auth") // which is still the name of the file
	s, err := service(p)
	if err != nil || s == nil || s.Active == nil {
		return nil, err
	}
	return s.Active.Options.BasicAuth, nil
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
