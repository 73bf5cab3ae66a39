package api

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
)

// maxUnixPath is the longest socket path that every supported system can bind
// (sockaddr_un.sun_path: 108 bytes on Linux, 104 on the BSDs, with a NUL).
const maxUnixPath = 103

// Target is the address of one running instance of a web application. It is
// configuration: the state that a running release keeps of it is an upstream.
type Target struct {
	// Scheme is "http", "https", or "h2c" for HTTP/2 without TLS.
	Scheme string
	// Network is "tcp" or "unix".
	Network string
	// Address is host:port for tcp, an absolute path for unix.
	Address string
}

// ParseTarget parses host:port, [ipv6]:port, unix//path/to.sock, and the forms
// http://host:port, https://host:port and h2c://host:port. The port may only be
// left out of https://host, where it is 443.
func ParseTarget(s string) (Target, error) {
	if rest, ok := strings.CutPrefix(s, "unix/"); ok {
		return parseUnixTarget(s, rest)
	}
	t := Target{Scheme: "http", Network: "tcp"}
	address := s
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		switch scheme = strings.ToLower(scheme); scheme {
		case "http", "https", "h2c":
			t.Scheme, address = scheme, strings.TrimSuffix(rest, "/")
		default:
			return Target{}, fmt.Errorf("target %q has the scheme %q; write http, https, h2c, or no scheme at all", s, scheme)
		}
	}
	if strings.ContainsAny(address, "/?#@") {
		return Target{}, fmt.Errorf("target %q has more than a host and a port; write it as host:port", s)
	}
	if t.Scheme == "https" && !hasPort(address) {
		address = net.JoinHostPort(strings.Trim(address, "[]"), "443")
	}
	host, port, err := net.SplitHostPort(address)
	switch {
	case err != nil && strings.Count(address, ":") > 1:
		return Target{}, fmt.Errorf("target %q is not host:port; write an IPv6 address in brackets, as in [::1]:3000", s)
	case address != "" && strings.Trim(address, "0123456789") == "":
		return Target{}, fmt.Errorf("target %q has no host; write it as host:port, as in localhost:%s", s, address)
	case err != nil:
		example := "web-1"
		if checkTargetHost(address) == nil {
			example = address
		}
		return Target{}, fmt.Errorf("target %q has no port; write it as host:port, as in %s:3000", s, example)
	case host == "":
		return Target{}, fmt.Errorf("target %q has no host; write it as host:port", s)
	}
	if err := checkTargetHost(host); err != nil {
		return Target{}, fmt.Errorf("target %q: %w", s, err)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return Target{}, fmt.Errorf("target %q has the port %q; a port is a number from 1 to 65535", s, port)
	} else {
		port = strconv.FormatUint(n, 10)
	}
	// A zone is the name of a network interface, which has a case.
	name, _, _ := strings.Cut(host, "%")
	t.Address = net.JoinHostPort(strings.ToLower(name)+host[len(name):], port)
	return t, nil
}

func parseUnixTarget(s, socket string) (Target, error) {
	socket = path.Clean(socket)
	switch {
	case !strings.HasPrefix(socket, "/") || socket == "/":
		return Target{}, fmt.Errorf("target %q needs an absolute path; write it as unix//run/app.sock", s)
	case len(socket) > maxUnixPath:
		return Target{}, fmt.Errorf("target %q has a socket path of %d bytes; systems allow %d", s, len(socket), maxUnixPath)
	case strings.ContainsFunc(socket, IsControl):
		return Target{}, fmt.Errorf("target %q has a control character in it", s)
	}
	return Target{Scheme: "http", Network: "unix", Address: socket}, nil
}

func hasPort(address string) bool {
	_, _, err := net.SplitHostPort(address)
	return err == nil
}

// checkTargetHost accepts IP addresses, with zones, and names as container
// runtimes use them, which is to say with underscores.
func checkTargetHost(host string) error {
	if addr, err := netip.ParseAddr(host); err == nil && strings.Trim(addr.Zone(), labelChars+".") == "" {
		return nil
	}
	if len(host) > 253 {
		return fmt.Errorf("the host is longer than the 253 characters of a DNS name")
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, labelChars) != "" {
			return fmt.Errorf("%q is not a host name", host)
		}
	}
	return nil
}

const labelChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

// String returns t in the form that ParseTarget reads.
func (t Target) String() string {
	switch {
	case t.Network == "unix":
		return "unix/" + t.Address
	case t.Scheme == "http":
		return t.Address
	}
	return t.Scheme + "://" + t.Address
}

// HostHeader returns the name or address that t's Host header has when nothing
// better is known.
func (t Target) HostHeader() string {
	if t.Network == "unix" {
		return "localhost"
	}
	return t.Address
}

// URL returns the URL for a request to t. The host of a Unix socket's URL is
// for show: the transport dials Address.
func (t Target) URL(requestURI string) (*url.URL, error) {
	u, err := url.ParseRequestURI(requestURI)
	if err != nil {
		return nil, err
	}
	u.Scheme, u.Host = "http", t.HostHeader()
	if t.Scheme == "https" {
		u.Scheme = "https"
	}
	return u, nil
}

// WithPort returns t with another port, for health checks that have their own.
func (t Target) WithPort(port int) Target {
	if port != 0 && t.Network == "tcp" {
		host, _, _ := net.SplitHostPort(t.Address)
		t.Address = net.JoinHostPort(host, strconv.Itoa(port))
	}
	return t
}
