package nats

import (
	"errors"
	"fmt"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// Connection says where NATS is, and whether this proxy runs one of its servers. Modules that say the same, for
// a proxy of the same name and directory, share one connection and one server.
type Connection struct {
	// URL is where NATS is: nats://user:password@a,b,c/bucket, or tls:// if it is a NATS of the user's that
	// has certificates which the system trusts. User, password, ports and bucket can be left
	// out. Required.
	URL string `json:"url"`
	// Server is which of the servers of URL this proxy itself runs, as a host with or without a port.
	// Default: none.
	Server string `json:"server,omitempty"`
	// SecretFile has what all proxies of the fleet know and nobody else: with it, they know each other
	// by certificates, and URL is that of their own servers. Required for Server.
	SecretFile string `json:"secret_file,omitempty"`

	address address
	secret  *secret
	server  string
}

// check reads what the config says, and returns an error if it cannot work.
func (c *Connection) check() (err error) {
	if c.address, err = parseAddress(c.URL); err != nil {
		return err
	}
	if c.SecretFile == "" {
		if c.Server != "" {
			return errors.New("a server needs a secret: whoever reaches it could change what all proxies serve")
		}
		return nil
	}
	if c.secret, err = readSecret(c.SecretFile); err != nil {
		return err
	}
	if c.address.user != nil {
		return errors.New("the address of NATS has a user, and the servers of the fleet know a proxy by the secret alone")
	}
	if n := len(c.address.servers); n != 1 && n != 3 && n != 5 {
		return fmt.Errorf("the address of NATS has %d servers of the fleet; use three or five, or one to try it", n)
	}
	if c.Server == "" {
		return nil
	}
	if c.server, err = withPort(c.Server); err != nil {
		return err
	}
	if !slices.Contains(c.address.servers, c.server) {
		return fmt.Errorf("the server %s is none of those in the address of NATS", c.server)
	}
	for _, server := range c.address.servers {
		if _, _, err := clusterAddress(server); err != nil {
			return err
		}
	}
	return nil
}

// links are the links in use. A config and the one that replaces it share theirs, and so do the fleet and the
// storage of a proxy.
var links = caddy.NewUsagePool()

// open returns the link of a proxy, and what gives it back. The link connects when somebody needs it.
func (c *Connection) open(name, dir string, logger *zap.Logger) (l *link, release func(), err error) {
	key := fmt.Sprintf("%q", []string{c.URL, c.Server, c.SecretFile, name, dir})
	pooled, _, err := links.LoadOrNew(key, func() (caddy.Destructor, error) {
		return newLink(c.address, c.secret, c.server, name, dir, logger), nil
	})
	if err != nil {
		return nil, nil, err
	}
	return pooled.(*link), func() { _, _ = links.Delete(key) }, nil
}
