package handlers

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/parachute-proxy/parachute/internal/api"
)

// words are directives that stand for settings: tokens whose file is the name of the setting,
// each list of them in a line of its own.
type words struct {
	field string
	line  int
	*snippet
}

// of returns words for another setting.
func (s *snippet) of(field string) *words { return &words{field: field, snippet: s} }

// tokens returns a line of a directive.
func (w *words) tokens(texts ...string) (line caddyfile.Segment) {
	w.line++
	for _, text := range texts {
		line = append(line, caddyfile.Token{File: w.field, Line: w.line, Text: text})
	}
	return line
}

// add adds a directive of several lines.
func (w *words) add(lines ...[]string) { w.directives = append(w.directives, w.join(lines)) }

// match adds a named matcher.
func (w *words) match(lines ...[]string) { w.matchers = append(w.matchers, w.join(lines)) }

func (w *words) join(lines [][]string) (all caddyfile.Segment) {
	for _, line := range lines {
		all = append(all, w.tokens(line...)...)
	}
	return all
}

// Named matchers of ours. Nobody names one like that.
const (
	denied     = "@parachute:denied"
	notAllowed = "@parachute:not-allowed"
	secure     = "@parachute:secure"
	notGRPC    = "@parachute:not-grpc"
)

// ofSettings returns the directives that settings stand for. Their order is that of
// docs/HANDLERS.md: what a client is told of the site by every answer, who may come at all,
// where to, how often, and who it is; then what becomes of the request and the answer.
func ofSettings(o *api.Options) (*snippet, error) {
	s := new(snippet)
	w := s.of("headers")
	for _, v := range o.Headers {
		name, value, _ := strings.Cut(v, ":")
		if strings.HasPrefix(v, "-") {
			w.add([]string{"header", "*", v})
			continue
		}
		// At once, so that errors have it as well, and again in place of what the target says.
		w.add([]string{"header", "*", name, strings.TrimSpace(value)})
		w.add([]string{"header", "*", ">" + name, strings.TrimSpace(value)})
	}
	if o.HSTS != "" {
		// Not over plain HTTP (RFC 6797, section 7.2), to us or to a proxy in front.
		w := s.of("hsts")
		w.match([]string{secure, "{"}, []string{"not", "{"}, []string{"protocol", "http"}, []string{"not", "header", "X-Forwarded-Proto", "https"}, []string{"}"}, []string{"}"})
		w.add([]string{"header", secure, "Strict-Transport-Security", o.HSTS})
		w.add([]string{"header", secure, ">Strict-Transport-Security", o.HSTS})
	}
	if len(o.DenyIP) > 0 {
		w := s.of("deny_ip")
		w.match(append([]string{denied, "client_ip"}, bothForms(o.DenyIP)...))
		w.add([]string{"error", denied, "the client's address is denied", "403"})
	}
	if len(o.AllowIP) > 0 {
		w := s.of("allow_ip")
		w.match(append([]string{notAllowed, "not", "client_ip"}, bothForms(o.AllowIP)...))
		w.add([]string{"error", notAllowed, "the client's address is not allowed", "403"})
	}
	w = s.of("redirects")
	for _, v := range o.Redirects {
		w.add(append([]string{"redir"}, api.Words(v)...))
	}
	if err := s.limitRate(o.RateLimit); err != nil {
		return nil, err
	}
	if len(o.BasicAuth) > 0 {
		_, hash, _ := strings.Cut(o.BasicAuth[0], ":")
		lines := [][]string{{"basic_auth", "*", api.HashAlgorithm(hash), "{"}}
		for _, v := range o.BasicAuth {
			name, hash, _ := strings.Cut(v, ":")
			lines = append(lines, []string{name, hash})
		}
		s.of("basic_auth").add(append(lines, []string{"}"})...)
	}
	if o.ForwardAuth != "" {
		s.of("forward_auth").add(forwardAuth(o.ForwardAuth, o.ForwardAuthHeaders)...)
	}
	if o.Compress {
		// What is not compressed anyway would wait for its first byte.
		w := s.of("compress")
		w.match([]string{notGRPC, "not", "header", "Content-Type", "application/grpc*"})
		w.add([]string{"encode", notGRPC, "zstd", "gzip"})
	}
	w = s.of("rewrites")
	for _, v := range o.Rewrites {
		w.add(append([]string{"rewrite"}, api.Words(v)...))
	}
	return s, nil
}

// bothForms returns ranges of addresses, and those of IPv4 also as IPv6 has them (RFC 4291,
// section 2.5.5.2), or the other way round: a proxy in front may write 192.0.2.1 as
// ::ffff:192.0.2.1, which the matchers of Caddy take for another address.
func bothForms(ranges []string) (all []string) {
	for _, v := range ranges {
		all = append(all, v)
		p, err := netip.ParsePrefix(v)
		if err != nil {
			address, err := netip.ParseAddr(v)
			if err != nil {
				continue
			}
			p = netip.PrefixFrom(address.WithZone(""), address.BitLen())
		}
		const mapped = 96 // the bits before an address of IPv4
		switch address := p.Addr(); {
		case address.Is4():
			all = append(all, netip.PrefixFrom(netip.AddrFrom16(address.As16()), mapped+p.Bits()).String())
		case address.Is4In6() && p.Bits() >= mapped:
			all = append(all, netip.PrefixFrom(address.Unmap(), p.Bits()-mapped).String())
		}
	}
	return all
}

// What is told of a rate limit where the program does not have the plugin for it.
const (
	needsPlugin = "needs a plugin of Caddy's that this program does not have: github.com/mholt/caddy-ratelimit"
	buildWithIt = "docs/HANDLERS.md says how to build the program with it"
)

// limitRate adds a limit of requests.
func (s *snippet) limitRate(limit string) error {
	if limit == "" {
		return nil
	}
	requests, in, err := api.ParseRateLimit(limit)
	if err != nil {
		return err
	}
	if _, err := caddy.GetModule("http.handlers.rate_limit"); err != nil {
		return api.Invalid("%s %s", api.Field("rate_limit"), needsPlugin).WithHint(buildWithIt)
	}
	s.of("rate_limit").add([]string{"rate_limit", "{"}, []string{"zone", "requests", "{"}, []string{"key", "{client_ip}"},
		[]string{"events", strconv.Itoa(requests)}, []string{"window", in.String()}, []string{"}"}, []string{"}"})
	return nil
}

// forwardAuth returns the lines of a forward_auth that asks a URL, whose form was checked.
func forwardAuth(address string, fields []string) [][]string {
	u, err := url.Parse(address)
	if err != nil {
		u = new(url.URL)
	}
	lines := [][]string{{"forward_auth", "*", u.Scheme + "://" + u.Host, "{"}, {"uri", u.RequestURI()}}
	if len(fields) > 0 {
		lines = append(lines, append([]string{"copy_headers"}, fields...))
	}
	return append(lines, []string{"}"})
}
