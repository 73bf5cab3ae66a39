package run

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/notify"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/cli"
	"github.com/parachute-proxy/parachute/internal/client"
	"github.com/parachute-proxy/parachute/internal/front"
	"github.com/parachute-proxy/parachute/internal/handoff"
	"github.com/parachute-proxy/parachute/internal/version"
)

// TakeoverVariable is the environment variable that has run take over from the process whose
// handover socket it names. `parachute upgrade` sets it.
const TakeoverVariable = "PARACHUTE_TAKEOVER_FROM"

// DefaultLinger is how long a process that has handed over stays for the clients that it has.
const DefaultLinger = 10 * time.Minute

// lockName is the name of the lock of the storage among the sockets of a handover.
const lockName = "lock"

// ErrStopping means that this process was told to stop while it took over.
var ErrStopping = errors.New("this process was told to stop")

// Plugin is the plugin as run sees it, when one process takes over from another.
type Plugin interface {
	// Follow has services that are loaded from now on be what another process decides.
	Follow()
	// Refresh makes them what is stored now, and gets this process ready to take part in a fleet with the standing of
	// the one before. It takes a bounded time.
	Refresh(standing []byte) error
	// Lead has this process, which has taken over from another one, decide about them, and tell
	// those that follow. If this process is about to end, it has them end, too, and returns [ErrStopping].
	Lead(from api.ProcessIdentity, followers *handoff.Followers) error
	// Leads reports whether this process decides, and no other one has taken over from it.
	Leads() bool
	// HandOver begins to hand over to processes that connect to l. own are sockets that the
	// plugin does not know of. linger is how long the process then stays at most.
	HandOver(l *net.UnixListener, own []handoff.Socket, admin client.Address, linger time.Duration)
}

// handoverSocket returns the path of the socket at which a process hands over.
func (o *options) handoverSocket() string {
	if a := o.adminListener(); a.Network == "unix" {
		return filepath.Join(filepath.Dir(a.Address), "handover.sock")
	}
	return filepath.Join(o.storageDir(), "parachute", "handover.sock")
}

// takeOver begins to take over from the process that runs, if this one is to do so.
func (o *options) takeOver(plugin Plugin) (*handoff.Takeover, error) {
	path := os.Getenv(TakeoverVariable)
	_ = os.Unsetenv(TakeoverVariable) // it is not for the process that takes over from this one
	if path == "" && o.takeover {
		path = o.handoverSocket()
	}
	if path == "" {
		return nil, nil
	}
	t, err := handoff.Take(path, version.Version())
	if errors.Is(err, handoff.ErrNobody) {
		return nil, nil // as when the machine has just started, or it has died meanwhile
	}
	if err != nil {
		return nil, cli.FailedStart("the running proxy goes on; see its log", "taking over: %v", err)
	}
	plugin.Follow()
	return t, nil
}

// succeed ends what takeOver began, once this process could serve.
func (o *options) succeed(t *handoff.Takeover, plugin Plugin) error {
	if caddy.Exiting() {
		return ErrStopping
	}
	if err := t.Booted(); err != nil {
		return err
	}
	if err := plugin.Refresh(t.Standing); err != nil {
		return err
	}
	if caddy.Exiting() {
		return ErrStopping // and the other process goes on
	}
	followers, err := t.Ready()
	if err != nil {
		return err
	}
	if err := plugin.Lead(t.From, followers); errors.Is(err, ErrStopping) {
		select {} // until Caddy has ended this process
	} else if err != nil {
		return err // and the other process takes back what it has released
	}
	front.Open()
	_ = notify.Ready() // to systemd, to which this is the main process now
	return nil
}

// handoverListener returns the socket at which this process hands over: that of the process
// before, if there was one.
func (o *options) handoverListener(t *handoff.Takeover) (*net.UnixListener, error) {
	if t == nil || t.Sockets[handoff.SocketName] == nil {
		return handoff.Listen(o.handoverSocket())
	}
	file := t.Sockets[handoff.SocketName]
	delete(t.Sockets, handoff.SocketName)
	defer file.Close()
	l, err := net.FileListener(file)
	if err != nil {
		return nil, err
	}
	return l.(*net.UnixListener), nil
}

// inherits reports whether one of the sockets listens on a port.
func (o *options) inherits(sockets map[string]*os.File, port int) bool {
	return sockets[front.SocketName("tcp", o.bind, strconv.Itoa(port))] != nil
}

// inheritLock returns the lock of the storage that the process before has, if it has.
func inheritLock(t *handoff.Takeover) *os.File {
	if t == nil {
		return nil
	}
	lock := t.Sockets[lockName]
	delete(t.Sockets, lockName)
	return lock
}
