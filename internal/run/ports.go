package run

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"

	"github.com/parachute-proxy/parachute/internal/cli"
)

// checkPorts finds out whether the ports can be had, and says what to do if not, which Caddy does
// not. Ports whose sockets are inherited are ours. It warns on w where HTTPS is off because of that.
func (o *options) checkPorts(w io.Writer, inherited map[string]*os.File) error {
	for _, p := range []struct {
		flag string
		port *int
		quic bool
	}{{"http-port", &o.httpPort, false}, {"https-port", &o.httpsPort, true}, {"metrics-port", &o.metricsPort, false}} {
		if *p.port == 0 || o.inherits(inherited, *p.port) {
			continue
		}
		err := checkPort(o.bind, *p.port, p.quic)
		if err == nil {
			continue
		}
		if p.flag == "https-port" && !o.httpsPortGiven {
			// Whoever moved HTTP to another port did not ask for 443.
			fmt.Fprintf(w, "warning: HTTPS is off: %v; choose a port with --https-port\n", err)
			*p.port = 0
			continue
		}
		return cli.FailedStart(portHint(p.flag, *p.port, err), "%v", err)
	}
	return nil
}

func checkPort(bind string, port int, quic bool) error {
	address := net.JoinHostPort(bind, strconv.Itoa(port))
	l, err := net.Listen("tcp", address)
	if err != nil {
		return portError(port, bind, err)
	}
	defer l.Close()
	if !quic {
		return nil
	}
	pc, err := net.ListenPacket("udp", address)
	if err != nil {
		return portError(port, bind, err)
	}
	return pc.Close()
}

func portError(port int, bind string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("port %d is in use by another program: %w", port, syscall.EADDRINUSE)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return fmt.Errorf("this user may not listen on port %d: %w", port, syscall.EACCES)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("--bind %s is not an address of this machine", bind)
	}
	return fmt.Errorf("listening on port %d: %w", port, err)
}

func portHint(flag string, port int, err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Sprintf("stop that program, or choose another port with --%s", flag)
	case errors.Is(err, syscall.EACCES):
		return fmt.Sprintf("allow it with: sudo setcap cap_net_bind_service=+ep %s; or choose a port from 1024 up with --%s", executable(), flag)
	}
	return ""
}

func executable() string {
	if path, err := os.Executable(); err == nil {
		return path
	}
	return "parachute"
}
