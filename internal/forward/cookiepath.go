package forward

import (
	"net"
	"net/http"
	"strings"
)

// scopeCookies puts prefix before the paths of cookies, each the value of a Set-Cookie, that an
// application sets for the host of the request. It believes that it has all paths of the host.
func scopeCookies(cookies []string, prefix, host string) {
	for i, cookie := range cookies {
		cookies[i] = scopeCookie(cookie, prefix, host)
	}
}

// scopeCookie returns a cookie with prefix before its path, and every other byte as it is. A
// cookie without a path gets prefix: a browser would take it from the URL, which has the prefix
// in it, and leave out the last segment. These stay as they are: what is no cookie; one for
// another domain; and one whose name begins with __Host-, which browsers take with the path /
// alone (RFC 6265bis, section 4.1.3.2).
func scopeCookie(cookie, prefix, host string) string {
	parsed, err := http.ParseSetCookie(cookie)
	if err != nil || len(parsed.Name) >= len(hostCookie) && strings.EqualFold(parsed.Name[:len(hostCookie)], hostCookie) {
		return cookie
	}
	parts := strings.Split(cookie, ";")
	// Of several attributes of one name, the last counts (RFC 6265, section 5.3).
	path, domain := -1, ""
	for i, attribute := range parts[1:] {
		name, value, _ := strings.Cut(attribute, "=")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "path":
			path = i + 1
		case "domain":
			domain = strings.TrimSpace(value)
		}
	}
	if domain = strings.TrimPrefix(domain, "."); domain != "" && !strings.EqualFold(domain, withoutPort(host)) {
		return cookie
	}
	if path < 0 {
		return cookie + "; Path=" + prefix
	}
	name, value, _ := strings.Cut(parts[path], "=")
	value = strings.TrimSpace(value)
	if !strings.HasPrefix(value, "/") || value == "/" {
		value = "" // not a path (RFC 6265, section 5.2.4), or the root
	}
	parts[path] = name + "=" + prefix + value
	return strings.Join(parts, ";")
}

// hostCookie is what the names of cookies begin with that are for one host and all its paths.
const hostCookie = "__Host-"

// withoutPort returns the host of a Host header.
func withoutPort(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.Trim(host, "[]")
}
