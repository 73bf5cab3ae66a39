package proxy

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/parachute-proxy/parachute/internal/forward"
)

// redirect returns where a request that r serves below prefix has to go instead, or nothing:
// to HTTPS, to the canonical host, or to both in one hop.
func (e *Engine) redirect(r *release, prefix string, v *visitor) string {
	o, in, from := &r.Spec.Options, v.in, v.client
	if o.TLS == nil && o.CanonicalHost == "" && prefix == "/" {
		return ""
	}
	secure := from.ByTLS(in)
	t := o.TLS
	var root *release
	if !secure && v.service == "" {
		if root = e.table.Load().tlsFrom(r, in.Host, prefix); root != nil {
			t = root.Spec.Options.TLS
		}
	}
	toTLS := !secure && t != nil && t.Redirect && from.Ports.HTTPS >= 0
	toHost := o.CanonicalHost != "" && canonicalName(in.Host) != o.CanonicalHost
	// What will be refused is not redirected first.
	if !toTLS && !toHost || !secure && isForAuthority(in) || !forward.Forwardable(in) {
		return ""
	}
	host := in.Host
	if host == "" && !toHost {
		return "" // HTTP/1.0
	}
	if toHost {
		host = withPortOf(o.CanonicalHost, in.Host)
	}
	// A certificate that is obtained in the background may not be there yet: to send
	// people to HTTPS would be to send them away.
	if toTLS && root != nil {
		toTLS = e.coversTLS(host)
	} else if toTLS {
		toTLS = r.source().covers(e, host)
	}
	if !toTLS && !toHost {
		return ""
	}
	scheme := "http"
	if secure || toTLS {
		scheme = "https"
	}
	if toTLS {
		host = withPort(host, httpsPort(from.Ports, in.Host))
	}
	target, path, query := forward.OriginForm(in)
	if path == "" {
		target = "/" + query
	}
	return scheme + "://" + host + target
}

// portOf returns the port of a Host header with its colon, or nothing.
func portOf(host string) string {
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		return host[i:]
	}
	return ""
}

// httpsPort returns the port that a client who has asked for host over HTTP reaches HTTPS
// on. A port of ours in the Host says that nothing is between us that changes ports. What
// comes without a port, but not by our port 80, has been forwarded from it, and then 443 is
// forwarded, too: our own port may not be reachable, and browsers remember where they were
// sent. 0 is the default of HTTPS.
func httpsPort(p forward.Ports, host string) int {
	if p.PublicHTTPS != 0 {
		return p.PublicHTTPS
	}
	ours := p.HTTP == 0 || p.HTTP == 80
	if port := portOf(host); !ours && (port == "" || port == ":" || port == ":80") {
		return 0
	}
	return p.HTTPS
}

func withPortOf(host, other string) string { return bracketed(host) + portOf(other) }

// withPort returns a Host header with another port, which is left out if it is the
// one that HTTPS has by default, or 0.
func withPort(host string, port int) string {
	host = strings.TrimSuffix(host, portOf(host))
	if port == 0 || port == 443 {
		return host
	}
	return host + ":" + strconv.Itoa(port)
}

// bracketed puts an IPv6 address into the brackets that it has in a URL.
func bracketed(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// writeRedirect sends the client of in to location. A method that is not GET or HEAD
// has to stay what it is, with its body (RFC 9110, section 15.4.9). It returns the status.
func writeRedirect(w http.ResponseWriter, in *http.Request, location string) int {
	status := http.StatusPermanentRedirect
	if in.Method == http.MethodGet || in.Method == http.MethodHead {
		status = http.StatusMovedPermanently
	}
	w.Header()["Location"] = []string{location}
	w.WriteHeader(status)
	return status
}
