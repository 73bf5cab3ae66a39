package nats

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	defaultPort   = "4222"
	defaultBucket = "parachute"
	// clusterOffset is added to the port of a server's clients for that of the other servers, as in
	// NATS's own defaults, 4222 and 6222.
	clusterOffset = 2000
)

// address is where NATS is: nats://user:password@a,b:4223,c/bucket, or tls:// for TLS with the certificate
// authorities of the system.
type address struct {
	scheme string
	// user is nil if there is none.
	user *url.Userinfo
	// servers are hosts with ports.
	servers []string
	// bucket begins the names of the fleet's buckets. Default: parachute.
	bucket string
}

var bucketName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)

// parseAddress parses an address. Its errors name no password.
func parseAddress(s string) (a address, err error) {
	scheme, rest, _ := strings.Cut(s, "://")
	if scheme != "nats" && scheme != "tls" {
		return a, errors.New("the address of NATS does not begin with nats:// or tls://")
	}
	a.scheme, a.bucket = scheme, defaultBucket
	if i := strings.LastIndex(rest, "@"); i >= 0 {
		u, err := url.Parse("nats://" + rest[:i] + "@host")
		if err != nil {
			return a, errors.New("the user or the password in the address of NATS is not encoded as in URLs")
		}
		a.user, rest = u.User, rest[i+1:]
	}
	hosts, path, _ := strings.Cut(rest, "/")
	if path != "" {
		if !bucketName.MatchString(path) {
			return a, fmt.Errorf("%q in the address of NATS is not the name of a bucket; use up to 32 letters, digits, hyphens and underscores", path)
		}
		a.bucket = path
	}
	for _, host := range strings.Split(hosts, ",") {
		server, err := withPort(host)
		if err != nil {
			return a, err
		}
		if slices.Contains(a.servers, server) {
			return a, fmt.Errorf("the address of NATS has the server %s twice", server)
		}
		a.servers = append(a.servers, server)
	}
	return a, nil
}

// withPort returns a server with the default port, if it has none.
func withPort(server string) (string, error) {
	u, err := url.Parse("nats://" + server)
	if err != nil || u.Hostname() == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
		return "", fmt.Errorf("%q is not the address of a server, such as 10.0.0.1 or 10.0.0.1:4222", server)
	}
	port := u.Port()
	if port == "" {
		port = defaultPort
	}
	return net.JoinHostPort(u.Hostname(), port), nil
}

// clusterAddress returns where the other servers reach one.
func clusterAddress(server string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(server)
	if err != nil {
		return "", 0, err
	}
	if port, err = strconv.Atoi(text); err != nil || port < 1 || port > 65535-clusterOffset {
		return "", 0, fmt.Errorf("the port of %s is not one from 1 to %d, so that the servers have one for each other %d above it", server, 65535-clusterOffset, clusterOffset)
	}
	return host, port + clusterOffset, nil
}

// urls returns the addresses for the client.
func (a address) urls() string { return a.join(a.servers) }

// urlsFrom is urls with one of the servers first, and urlsUpTo with one of them last.
func (a address) urlsFrom(first string) string {
	return a.join(append([]string{first}, a.without(first)...))
}

func (a address) urlsUpTo(last string) string { return a.join(append(a.without(last), last)) }

// without returns the servers but for one.
func (a address) without(server string) []string {
	return slices.DeleteFunc(slices.Clone(a.servers), func(s string) bool { return s == server })
}

func (a address) join(servers []string) string {
	var all []string
	for _, s := range servers {
		all = append(all, (&url.URL{Scheme: a.scheme, User: a.user, Host: s}).String())
	}
	return strings.Join(all, ",")
}
