package proxy

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/forward"
)

// previewParameter is what a link has in its query that opens what not everybody gets: the
// candidate of a canary, or a service that is paused or stopped.
const previewParameter = "parachute_preview"

// previewAge is how long such a link can be used.
const previewAge = 24 * time.Hour

// previewCookie is the name of the cookie that takes the place of the parameter.
func previewCookie(service string) string { return "parachute_preview_" + forward.ShortHash(service) }

// opens reports whether the client has opened the service with a link.
func (v *visitor) opens(l *lineup) bool {
	if l.linkKey == nil {
		return false
	}
	cookie, err := v.in.Cookie(previewCookie(l.active.Spec.Service))
	if err != nil {
		return false
	}
	_, ok := linkValidUntil(l.linkKey, l.active.Spec.Service, cookie.Value)
	return ok
}

// followsLink returns where to send a client that comes with a link: to the same place, with a
// cookie in place of the token, which is then in no log and in no Referer of the application.
// It is empty if the client comes with none that is good.
func (v *visitor) followsLink(l *lineup) string {
	if l.linkKey == nil || !strings.Contains(v.in.URL.RawQuery, previewParameter+"=") || v.in.Method != http.MethodGet && v.in.Method != http.MethodHead {
		return ""
	}
	var rest []string
	token := ""
	for part := range strings.SplitSeq(v.in.URL.RawQuery, "&") {
		if value, ok := strings.CutPrefix(part, previewParameter+"="); ok {
			token = value
			continue
		}
		rest = append(rest, part)
	}
	service := l.active.Spec.Service
	until, ok := linkValidUntil(l.linkKey, service, token)
	if !ok {
		return ""
	}
	v.cookies = append(v.cookies, v.cookie(previewCookie(service), token, int(time.Until(until).Seconds())))
	to := url.URL{Path: v.in.URL.Path, RawPath: v.in.URL.RawPath, RawQuery: strings.Join(rest, "&")}
	// A path that begins with two slashes would be a host to the browser.
	return "/" + strings.TrimLeft(to.RequestURI(), "/")
}

// linkError is why a request is not forwarded that comes with a link: its client is sent to
// the same place, with a cookie.
type linkError struct{ to string }

func (linkError) Error() string { return "the request comes with a link" }

func (l linkError) write(w http.ResponseWriter) {
	w.Header()["Location"] = []string{l.to}
	w.Header()["Cache-Control"] = []string{"no-store"}
	w.WriteHeader(http.StatusFound)
}

// Preview returns a link to what not everybody gets of a service, on one of the ports. It
// returns an [api.Error] with [api.CodeNotFound] if everybody gets the same.
func (e *Engine) Preview(name string, ports forward.Ports) (api.PreviewLink, error) {
	if _, err := e.serving(name); err != nil {
		return api.PreviewLink{}, err
	}
	e.mu.Lock()
	var l *lineup
	if svc := e.services[name]; svc != nil {
		l = svc.lineup()
	}
	e.mu.Unlock()
	if l == nil || l.linkKey == nil {
		err := &api.Error{Code: api.CodeNotFound, Message: "everybody gets the same of " + name + ", so there is nothing to preview"}
		return api.PreviewLink{}, err.WithHint("deploy a release with %s, or pause or stop the service", api.Field("canary").Is("0%"))
	}
	spec := l.active.Spec
	link := api.PreviewLink{Service: name, Expires: time.Now().Add(previewAge).UTC().Truncate(time.Second)}
	u := url.URL{Scheme: "http", Host: "HOST", Path: spec.Options.PathPrefixes[0]}
	if i := slices.IndexFunc(spec.Hosts, func(host string) bool { return !api.IsWildcard(host) }); i >= 0 {
		u.Host = spec.Hosts[i]
	}
	if spec.Options.CanonicalHost != "" {
		u.Host = spec.Options.CanonicalHost
	}
	if spec.Options.TLS != nil || e.table.Load().tlsFrom(l.active, u.Host, u.Path) != nil {
		u.Scheme = "https"
		u.Host = withPort(bracketed(u.Host), cmp.Or(ports.PublicHTTPS, max(0, ports.HTTPS)))
	} else if ports.HTTP != 0 && ports.HTTP != 80 {
		u.Host = bracketed(u.Host) + ":" + strconv.Itoa(ports.HTTP)
	}
	u.RawQuery = previewParameter + "=" + signLink(l.linkKey, name, link.Expires)
	link.URL = u.String()
	return link, nil
}
