package forward

import (
	"net/http"
	"net/url"
	"strings"
)

// OriginForm returns the request target of in as RFC 9112, section 3.2.1, has it, and
// its parts: byte for byte what the client sent, unless something before us has
// rewritten it. The query has its question mark. Before an empty path, a slash is
// missing.
func OriginForm(in *http.Request) (target, path, query string) {
	u, target := in.URL, in.RequestURI
	path = RawPath(u)
	query, same := strings.CutPrefix(target, path)
	if !same || query != "" && (query[0] != '?' || query[1:] != u.RawQuery) {
		query = ""
		if u.RawQuery != "" || u.ForceQuery {
			query = "?" + u.RawQuery
		}
		target = path + query
	}
	return target, path, query
}

// RawPath returns the path of u as the client wrote it.
func RawPath(u *url.URL) string {
	if path, err := url.PathUnescape(u.RawPath); err == nil && path == u.Path && u.RawPath != "" {
		return u.RawPath
	}
	return u.EscapedPath()
}

// stripPrefix removes the segments of prefix from a path and leaves the bytes of
// the rest as they are.
func stripPrefix(path, prefix string) string {
	if prefix == "/" {
		return path
	}
	for range strings.Count(prefix, "/") {
		i := strings.IndexByte(path[min(1, len(path)):], '/')
		if i < 0 {
			return "/"
		}
		path = path[1+i:]
	}
	return path
}

// requestURL returns a URL with which net/http sends a request target as it is. By
// itself it would escape a path anew that has a character in it which it would
// have escaped, such as a bar, and then decode an encoded slash beside it.
func requestURL(target string) *url.URL {
	path, query, hasQuery := strings.Cut(target, "?")
	u := &url.URL{Opaque: path, RawQuery: query, ForceQuery: hasQuery && query == ""}
	if strings.HasPrefix(path, "//") { // what cannot be said in this way
		u.Opaque = ""
		if decoded, err := url.PathUnescape(path); err == nil {
			u.Path, u.RawPath = decoded, path
		} else {
			u.Path = path
		}
	}
	return u
}
