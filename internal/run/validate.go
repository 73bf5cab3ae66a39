package run

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/client"
)

func (o *options) validate() error {
	for name, port := range map[string]int{"http-port": o.httpPort, "https-port": o.httpsPort, "public-https-port": o.publicHTTPS, "metrics-port": o.metricsPort} {
		if port < 0 || port > 65535 {
			return fmt.Errorf("--%s %d is not a port; a port is a number from 1 to 65535", name, port)
		}
	}
	if o.httpPort == 0 && o.httpsPort == 0 {
		return errors.New("--http-port and --https-port are both 0: there is nothing to serve on")
	}
	if o.publicHTTPS != 0 && o.httpsPort == 0 {
		return errors.New("--public-https-port needs HTTPS, which --https-port 0 turns off")
	}
	seen := make(map[int]bool)
	for _, port := range []int{o.httpPort, o.httpsPort, o.metricsPort} {
		if port != 0 && seen[port] {
			return fmt.Errorf("port %d is given twice", port)
		}
		seen[port] = true
	}
	if o.bind != "" && net.ParseIP(o.bind) == nil {
		return fmt.Errorf("--bind %q is not an IP address", o.bind)
	}
	for _, cidr := range o.trustedProxies {
		if _, _, err := net.ParseCIDR(cidr); err != nil && net.ParseIP(cidr) == nil {
			return fmt.Errorf("--trusted-proxies %q is not an IP address or a CIDR, such as 10.0.0.0/8", cidr)
		}
	}
	for name, d := range map[string]api.Duration{"grace-period": o.gracePeriod, "client-timeout": o.clientTimeout} {
		if d < api.Duration(100*time.Millisecond) || d > api.Duration(24*time.Hour) {
			return fmt.Errorf("--%s %s is out of range; use a value from 100ms to 24h", name, d)
		}
	}
	if o.shutdownDelay < 0 || o.shutdownDelay > api.Duration(24*time.Hour) {
		return fmt.Errorf("--shutdown-delay %s is out of range; use a value from 0s to 24h", o.shutdownDelay)
	}
	if o.pingPath != "" {
		if err := CheckPingPath(o.pingPath); err != nil {
			return fmt.Errorf("--ping-path: %w", err)
		}
	}
	if o.maxHeaderSize < 1<<10 || o.maxHeaderSize > 16<<20 {
		return fmt.Errorf("--max-header-size %s is out of range; use a value from 1KiB to 16MiB", o.maxHeaderSize.String())
	}
	if o.edge != "on" && o.edge != "off" {
		return fmt.Errorf("unknown --edge %q; use on or off", o.edge)
	}
	if o.bufferDisk < 1<<20 {
		return fmt.Errorf("--buffer-disk %s is out of range; use a value from 1MiB", o.bufferDisk)
	}
	if o.bufferDir != "" {
		if dir, err := os.Stat(o.bufferDir); err != nil || !dir.IsDir() {
			return fmt.Errorf("--buffer-dir %s is not a directory; create it, and let the user of the proxy write to it", o.bufferDir)
		}
	}
	if err := o.validateFleet(); err != nil {
		return err
	}
	if o.minTLS != "1.2" && o.minTLS != "1.3" {
		return fmt.Errorf("unknown --min-tls %q; use 1.2 or 1.3", o.minTLS)
	}
	if !slices.Contains([]string{"none", "safe", "all"}, o.allowHandlers) {
		return fmt.Errorf("unknown --allow-handlers %q; use none, safe or all", o.allowHandlers)
	}
	switch {
	case len(o.webhooks) > 0 && o.webhookSecret == "":
		return errors.New("--webhook needs --webhook-secret-file: receivers have to know who has sent a message")
	case len(o.webhooks) == 0 && o.webhookSecret != "":
		return errors.New("--webhook-secret-file has no effect without --webhook")
	}
	if err := o.validateACME(); err != nil {
		return err
	}
	return o.validateAdmin()
}

func (o *options) validateACME() error {
	if o.acmeCARoot != "" {
		if _, err := os.Stat(o.acmeCARoot); err != nil {
			return fmt.Errorf("--acme-ca-root: %w", err)
		}
	}
	if o.tlsStaging && o.acmeCA != "" {
		return errors.New("--tls-staging and --acme-ca choose two different authorities; leave one of them out")
	}
	if (o.acmeEABKeyID == "") != (o.acmeEABMACKey == "") {
		return errors.New("--acme-eab-key-id and --acme-eab-mac-key belong together; give both")
	}
	_, err := o.dnsProvider()
	return err
}

// validateAdmin refuses to put the control of the proxy on the network: whoever
// reaches the endpoint may do anything.
func (o *options) validateAdmin() error {
	if o.admin == "" {
		return nil
	}
	a, err := client.ParseAdminAddress(o.admin)
	if err != nil {
		return err
	}
	if a.Network == "unix" {
		if len(a.Address) > 103 {
			return fmt.Errorf("--admin: the socket path is longer than the 103 bytes that systems allow")
		}
		if strings.Trim(a.Mode[max(0, len(a.Mode)-1):], "0") != "" {
			return fmt.Errorf("--admin %s would let every user of the machine control the proxy; let the last digit be 0", o.admin)
		}
		return nil
	}
	host, _, _ := net.SplitHostPort(a.Address)
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("--admin %s would let everyone who reaches it control the proxy; use a unix socket or a loopback address", o.admin)
	}
	return nil
}
