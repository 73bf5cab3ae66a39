package api

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of what requests pass on their way to a target: how many elements a list may have, how
// long each may be, and how long the directives may be, in bytes.
const (
	MaxHandlerList  = 1000
	MaxHandlerValue = 4096
	MaxWith         = 256 << 10
)

// DefaultHSTS is what a command line has for HSTS without a value.
const DefaultHSTS = "max-age=31536000"

// HasHandlers reports whether o asks for anything that requests pass on their way to a target.
func (o *Options) HasHandlers() bool {
	texts := []string{o.HSTS, o.RateLimit, o.ForwardAuth, o.With}
	lists := [][]string{o.Headers, o.DenyIP, o.AllowIP, o.Redirects, o.BasicAuth, o.Rewrites}
	return o.Compress || slices.ContainsFunc(texts, func(s string) bool { return s != "" }) ||
		slices.ContainsFunc(lists, func(list []string) bool { return len(list) > 0 })
}

// Guards reports whether o asks for something that a program must not serve without which does
// not know of it.
func (o *Options) Guards() bool { return o.HasHandlers() || o.ClientCA != "" }

// resolveHandlers checks what requests pass on their way to a target.
func (r DeployRequest) resolveHandlers(s *Spec) error {
	for _, list := range []struct {
		field Field
		given []string
		to    *[]string
		check func(string) error
	}{
		{"headers", r.Headers, &s.Options.Headers, checkAnswerHeader},
		{"deny_ip", r.DenyIP, &s.Options.DenyIP, checkRange},
		{"allow_ip", r.AllowIP, &s.Options.AllowIP, checkRange},
		{"redirects", r.Redirects, &s.Options.Redirects, checkRedirect},
		{"basic_auth", r.BasicAuth, &s.Options.BasicAuth, checkAccount},
		{"forward_auth_headers", r.ForwardAuthHeaders, &s.Options.ForwardAuthHeaders, checkFieldName},
		{"rewrites", r.Rewrites, &s.Options.Rewrites, checkRewrite},
	} {
		if len(list.given) > MaxHandlerList {
			return Invalid("%s can have at most %d values", list.field, MaxHandlerList)
		}
		for _, v := range list.given {
			err := checkWords(v)
			if err == nil {
				err = list.check(v)
			}
			if err != nil {
				return Invalid("%s: %v", list.field, err)
			}
		}
		*list.to = slices.Clone(list.given)
	}
	if err := checkLoops(r.Redirects); err != nil {
		return Invalid("%s: %v", Field("redirects"), err)
	}
	if len(r.BasicAuth) > 0 && !sameAlgorithm(r.BasicAuth) {
		return Invalid("%s: all hashes have to be by the same algorithm", Field("basic_auth"))
	}
	if len(r.ForwardAuthHeaders) > 0 && r.ForwardAuth == "" {
		return Invalid("%s has no effect without %s", Field("forward_auth_headers"), Field("forward_auth"))
	}
	for _, text := range []struct {
		field Field
		err   error
	}{
		{"hsts", checkHSTS(r.HSTS)}, {"rate_limit", checkRateLimit(r.RateLimit)}, {"forward_auth", checkForwardAuth(r.ForwardAuth)}, {"with", checkWith(r.With)},
	} {
		if text.err != nil {
			return Invalid("%s: %v", text.field, text.err)
		}
	}
	return nil
}

// checkWords refuses what cannot be a word in directives.
func checkWords(v string) error {
	if v == "" || len(v) > MaxHandlerValue || !utf8.ValidString(v) || strings.ContainsFunc(v, IsControl) {
		return fmt.Errorf("%.64q is empty, too long, or has characters that are not text", v)
	}
	return nil
}

func checkRange(v string) error {
	if p, err := netip.ParsePrefix(v); err == nil {
		if p != p.Masked() {
			return fmt.Errorf("%.64q is an address within a range; write %s for the range, or %s for the address", v, p.Masked(), p.Addr())
		}
		return nil
	}
	if _, err := netip.ParseAddr(v); err == nil {
		return nil
	}
	return fmt.Errorf("%.64q is not an address or a range, such as 192.0.2.0/24", v)
}

func checkRewrite(v string) error {
	words := Words(v)
	if len(words) != 2 || isBrace(words[1]) || !strings.HasPrefix(words[0], "/") || !strings.HasPrefix(words[1], "/") && !strings.HasPrefix(words[1], "{") {
		return fmt.Errorf("%.64q is not a rewrite; write it as '/old /new'", v)
	}
	return nil
}

// checkAccount says nothing of what the hash is, which may be a password.
func checkAccount(v string) error {
	name, hashed, ok := strings.Cut(v, ":")
	if !ok || name == "" || strings.ContainsAny(name, " \t{}\"`") {
		return fmt.Errorf("an account is written as NAME:HASH, and the name has no spaces, quotes and braces")
	}
	if err := CheckPasswordHash(hashed); err != nil {
		return fmt.Errorf("what is behind the name %.64q is %w", name, err)
	}
	return nil
}

func sameAlgorithm(accounts []string) bool {
	algorithm := func(account string) string {
		_, hashed, _ := strings.Cut(account, ":")
		return HashAlgorithm(hashed)
	}
	return !slices.ContainsFunc(accounts, func(a string) bool { return algorithm(a) != algorithm(accounts[0]) })
}

// hsts is the form of Strict-Transport-Security (RFC 6797, section 6.1) as browsers know it.
var hsts = regexp.MustCompile(`^max-age=\d{1,10}(?: *; *(?:includeSubDomains|preload))*$`)

func checkHSTS(v string) error {
	if v != "" && !hsts.MatchString(v) {
		return fmt.Errorf("%.64q is not a value of Strict-Transport-Security, such as %s; includeSubDomains", v, DefaultHSTS)
	}
	return nil
}

// ParseRateLimit returns the number of requests and the time of a limit such as "100/1m".
func ParseRateLimit(v string) (requests int, in time.Duration, err error) {
	number, window, ok := strings.Cut(v, "/")
	requests, errNumber := strconv.Atoi(number)
	d, errWindow := ParseDuration(window)
	if !ok || errNumber != nil || errWindow != nil || requests < 1 || d < Duration(time.Second) || d > MaxTimeout {
		return 0, 0, fmt.Errorf("%.64q is not a number of requests in a time from 1s to 24h, such as 100/1m", v)
	}
	return requests, time.Duration(d), nil
}

func checkRateLimit(v string) error {
	if v == "" {
		return nil
	}
	_, _, err := ParseRateLimit(v)
	return err
}

func checkForwardAuth(v string) error {
	if v == "" {
		return nil
	}
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" || strings.ContainsAny(v, " {}\"`") || len(v) > MaxHandlerValue {
		return fmt.Errorf("%.64q is not a URL with http or https, such as http://authelia:9091/api/authz/forward-auth", v)
	}
	return nil
}

func checkWith(v string) error {
	switch {
	case len(v) > MaxWith:
		return fmt.Errorf("the directives are %d bytes, and can be %d at most", len(v), MaxWith)
	case !utf8.ValidString(v) || strings.ContainsRune(v, 0):
		return fmt.Errorf("the directives are not text in UTF-8")
	case v != "" && strings.TrimSpace(v) == "":
		return fmt.Errorf("the directives are empty")
	}
	return nil
}

// summaryOf tells a text of many lines from others: how many there are, and the beginning of
// the text's SHA-256.
func summaryOf(text string) string {
	lines := strings.Count(strings.TrimSuffix(text, "\n"), "\n") + 1
	return fmt.Sprintf("%s (%.4x)", Count(lines, "line"), sha256.Sum256([]byte(text)))
}

// namesIn tells values that are secret from others: what is before the colons in them, and the
// beginning of the SHA-256 of all.
func namesIn(values []string) string {
	var names []string
	for _, v := range values {
		name, _, _ := strings.Cut(v, ":")
		names = append(names, name)
	}
	return fmt.Sprintf("%s (%.4x)", strings.Join(names, ","), sha256.Sum256([]byte(strings.Join(values, "\n"))))
}
