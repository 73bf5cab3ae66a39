package proxy

import (
	"net/url"
	"strings"
)

// matchPath returns the path of u that prefixes are compared with: decoded,
// except that an encoded slash stays encoded, because it is data inside a
// segment and not a border between two (RFC 3986, section 2.2).
func matchPath(u *url.URL) string {
	if u.RawPath == "" || !strings.Contains(u.RawPath, "%2") {
		return u.Path
	}
	var b strings.Builder
	for i, segment := range strings.Split(u.RawPath, "/") {
		if i > 0 {
			b.WriteByte('/')
		}
		decoded, err := url.PathUnescape(segment)
		if err != nil || strings.Contains(decoded, "/") {
			decoded = segment
		}
		b.WriteString(decoded)
	}
	return b.String()
}

// rawPath returns the path of u as the client wrote it.
func rawPath(u *url.URL) string {
	if path, err := url.PathUnescape(u.RawPath); err == nil && path == u.Path && u.RawPath != "" {
		return u.RawPath
	}
	return u.EscapedPath()
}

// keepPath has net/http send the path of u as it is. By itself it would escape a
// path anew that has a character in it which it would have escaped, such as a bar,
// and then decode an encoded slash beside it.
func keepPath(u *url.URL) {
	// What begins with two slashes cannot be said in this way.
	if raw := rawPath(u); raw != u.EscapedPath() && !strings.HasPrefix(raw, "//") {
		u.Opaque = raw
	}
}

// stripPrefix removes the segments of prefix from the path of u and leaves the
// bytes of the rest as they are.
func stripPrefix(u *url.URL, prefix string) {
	if prefix == "/" {
		return
	}
	rest := rawPath(u)
	for range strings.Count(prefix, "/") {
		i := strings.IndexByte(rest[1:], '/')
		if i < 0 {
			rest = "/"
			break
		}
		rest = rest[1+i:]
	}
	if path, err := url.PathUnescape(rest); err == nil {
		u.Path, u.RawPath = path, rest
	}
}
