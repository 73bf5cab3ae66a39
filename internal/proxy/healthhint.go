package proxy

import (
	"net"
	"strings"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/forward"
)

// healthHint says what the last failure of a target suggests.
func healthHint(s api.Spec, reports []api.ProbeReport) api.Advice {
	for _, r := range reports {
		if r.Healthy || len(r.Failures) == 0 {
			continue
		}
		if a, _ := failureHint(s, r.Target, r.Failures[len(r.Failures)-1].Reason); a.Text != "" {
			return a
		}
	}
	return api.Advise("the app is up but its health check fails; see its log, or set %s", api.Field("health_check_path"))
}

// failureHint says what the failure of a target suggests; empty if nothing. It is one to
// tell early if waiting rarely mends it: an app that is starting refuses connections or
// answers 503, but it does not answer 404 or speak another protocol.
func failureHint(s api.Spec, target, reason string) (hint api.Advice, early bool) {
	// What quotes an answer comes first: there may be anything in it.
	for _, hints := range []func(s api.Spec, target, reason string) api.Advice{answerHint, protocolHint, certificateHint} {
		if a := hints(s, target, reason); a.Text != "" {
			return a, true
		}
	}
	a := connectionHint(target, reason)
	return a, strings.Contains(reason, "does not resolve")
}

// answerHint is for an app that has answered, but not what it should.
func answerHint(s api.Spec, _, reason string) api.Advice {
	switch {
	case strings.Contains(reason, " in the answer"), strings.Contains(reason, " that contains "):
		return api.Advise("the app is up but its page is not what was expected; see %s and %s", api.Field("health_check_body"), api.Field("health_check_path"))
	case strings.HasPrefix(reason, "2") && strings.Contains(reason, ", expected "):
		return api.Advise("the app is up; give the statuses that mean healthy with %s", api.Field("health_check_status"))
	case strings.Contains(reason, " redirect to "):
		if s.Options.TLS == nil && strings.Contains(reason, "https://") {
			return api.Advise("the app insists on HTTPS: deploy it with TLS, or, if another proxy ends TLS, use %s",
				api.Field("health_check_headers").Is("'X-Forwarded-Proto: https'"))
		}
		return api.Advise("point %s at a page that answers 200 itself", api.Field("health_check_path"))
	case strings.HasPrefix(reason, "404 "):
		return api.Advise("the app is up but has no such page; set %s", api.Field("health_check_path"))
	case strings.HasPrefix(reason, "508 "):
		return api.Advise("this may be the address of the proxy itself; give the address of the app instead")
	case strings.HasPrefix(reason, "400 "), strings.HasPrefix(reason, "403 "), strings.HasPrefix(reason, "421 "):
		return refusedHostHint(s)
	}
	return api.Advice{}
}

// refusedHostHint says what to do about an application that may refuse the Host header.
func refusedHostHint(s api.Spec) api.Advice {
	switch {
	case s.Options.HealthCheckHost != "":
		return api.Advise("the app may refuse the Host header of the health check; see %s", api.Field("health_check_host"))
	case len(s.Hosts) > 0:
		return api.Advise("the app may refuse the host that visitors send: allow %s in the app's settings", s.Hosts[0])
	}
	return api.Advise("the app may refuse the Host header, which is the address of the target; give its %s, or set %s",
		api.Field("hosts"), api.Field("health_check_host"))
}

// protocolHint is for a target that speaks another protocol than it was asked in, and says
// what to write.
func protocolHint(_ api.Spec, target, reason string) api.Advice {
	_, address, hasScheme := strings.Cut(target, "://")
	if !hasScheme {
		address = target
	}
	socket := strings.HasPrefix(target, "unix/")
	switch {
	case strings.HasPrefix(reason, "it speaks ") && socket && !strings.Contains(reason, "FastCGI"):
		return api.Advise("sockets get plain HTTP/1.1: make the app speak that, or let it listen on a port")
	case strings.HasPrefix(reason, "it speaks TLS"):
		return api.Advise("write the target as https://%s", address)
	case strings.HasPrefix(reason, "it speaks HTTP/2 "):
		return api.Advise("write the target as h2c://%s", address)
	case strings.HasPrefix(reason, "it speaks FastCGI"):
		return api.Advise("put a web server that speaks FastCGI in front of the app, such as Caddy or nginx, and deploy that")
	case strings.Contains(reason, "does not look like a TLS handshake"):
		return api.Advise("the app does not speak TLS; write the target without https://")
	case reason == forward.NotHTTP2:
		return api.Advise("the app does not speak HTTP/2 without TLS; write the target without h2c://")
	case strings.Contains(reason, "malformed HTTP answer: it begins with"):
		return api.Advise("the program on that port does not speak HTTP; give the port on which the app does")
	}
	return api.Advice{}
}

// certificateHint is for a target whose certificate was not taken, or that wants one.
func certificateHint(s api.Spec, target, reason string) api.Advice {
	const ca, name, insecure = api.Field("target_ca"), api.Field("target_server_name"), api.Field("target_insecure")
	switch {
	case strings.HasPrefix(reason, "its certificate is for no name"):
		return api.Advise("give the app a certificate with a name, and set that name with %s if it is not the target's; %s accepts any certificate", name, insecure)
	case strings.HasPrefix(reason, "its certificate is for "):
		names, _, _ := strings.Cut(strings.TrimPrefix(reason, "its certificate is for "), ", ")
		names, _, _ = strings.Cut(names, " ")
		if domain, ok := strings.CutPrefix(names, "*"); ok {
			names = "app" + domain // what is asked for is a name, not a pattern
		}
		return api.Advise("write the target with the name in its certificate, or set that name with %s", name.Is(names))
	case strings.HasPrefix(reason, "its certificate is from an authority"), strings.HasPrefix(reason, "its certificate is signed by itself"):
		if s.Options.TargetCA != "" {
			return api.Advise("the certificate must come from an authority in the file of %s, %s", ca, api.Printable(s.Options.TargetCA))
		}
		if strings.Contains(reason, "by itself") {
			return api.Advise("give a file with that certificate as %s, or accept any certificate with %s", ca, insecure)
		}
		return api.Advise("give a file with the authority's certificate as %s, or accept any certificate with %s", ca, insecure)
	case strings.HasPrefix(reason, "its certificate") && strings.Contains(reason, " has expired on "):
		return api.Advise("renew it; %s accepts any certificate", insecure)
	case strings.HasPrefix(reason, "its certificate") && strings.Contains(reason, " is not valid before "):
		return api.Advise("check the clock of the proxy's machine; %s accepts any certificate", insecure)
	case strings.HasPrefix(reason, "its certificate cannot be checked"):
		return api.Advise("give a file with the authority's certificate as %s, or accept any certificate with %s", ca, insecure)
	case strings.HasPrefix(reason, "its certificate"):
		return api.Advise("%s accepts any certificate", insecure)
	case reason == "tls: certificate required", reason == "tls: bad certificate":
		return api.Advise("the app asks its clients for a certificate, and the proxy has none: turn that off for this port")
	}
	return api.Advice{}
}

// connectionHint is for a target that cannot be reached, or says nothing.
func connectionHint(target, reason string) api.Advice {
	switch {
	case reason == "no such socket":
		return api.Advise("check that the app is running, and the path of its socket")
	case reason == "connection refused" && isLoopback(target):
		return api.Advise("nothing listens there: check that the app is running, and that it listens on this port; if the proxy runs in a container, %s is that container itself: use the name of the app's container", target)
	case reason == "connection refused":
		return api.Advise("nothing listens there: check that the app is running, and that it listens on this port and on an address that the proxy can reach")
	case strings.Contains(reason, "does not resolve"):
		return api.Advise("check the name, and that the proxy is in the same network as the app")
	case strings.Contains(reason, "no answer within"), strings.Contains(reason, "timed out"):
		return api.Advise("the app is too slow or a firewall drops the packets; see %s and %s", api.Field("health_check_timeout"), api.Field("deploy_timeout"))
	case reason == "connection closed without an answer", reason == "connection reset":
		return api.Advise("the program on that port closes connections without an answer: check that the app is running and speaks HTTP there (uWSGI: http-socket instead of socket)")
	}
	return api.Advice{}
}

// isLoopback reports whether a target is on the machine, or in the container, of the proxy.
func isLoopback(target string) bool {
	if _, address, ok := strings.Cut(target, "://"); ok {
		target = address
	}
	host, _, err := net.SplitHostPort(target)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}
