package front

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// longAgo is a deadline that ends all waiting.
var longAgo = time.Unix(1, 0)

// address is where a socket listens.
type address struct {
	// network is one of package net's: tcp, tcp4, tcp6 or unix.
	network string
	// name is host:port, or the path of a Unix socket.
	name string
	// mode are the permissions of a Unix socket.
	mode fs.FileMode
}

// ownerWrites is Caddy's default for the permissions of Unix sockets.
const ownerWrites = 0o200

// parseAddress returns the address that a [caddy.ListenerFunc] is asked for.
func parseAddress(network, host, portRange string, offset uint) (address, error) {
	if network == "unix" {
		path, bits, found := strings.Cut(host, "|")
		if !found {
			return address{network, path, ownerWrites}, nil
		}
		mode, err := strconv.ParseUint(bits, 8, 32)
		if err != nil || mode > 0o777 {
			return address{}, fmt.Errorf("%q are no permissions of a socket", bits)
		}
		return address{network, path, fs.FileMode(mode)}, nil
	}
	first, _, _ := strings.Cut(portRange, "-")
	port, err := strconv.ParseUint(first, 10, 16)
	if err != nil || uint64(offset) > 65535-port {
		return address{}, fmt.Errorf("%q is no port", portRange)
	}
	return address{network, net.JoinHostPort(host, strconv.FormatUint(port+uint64(offset), 10)), 0}, nil
}

// key identifies the socket: whoever may open it can change.
func (a address) key() string { return a.network + "/" + a.name }

// port returns the port of an address for TCP or UDP.
func (a address) port() string {
	_, port, _ := net.SplitHostPort(a.name)
	return port
}

func (a address) isUnix() bool { return a.network == "unix" }

// isFile reports whether a is a Unix socket that is in the file system.
func (a address) isFile() bool { return a.isUnix() && !strings.HasPrefix(a.name, "@") }

// clear removes what a process that was killed has left of its Unix socket.
func (a address) clear() error {
	if !a.isFile() {
		return nil
	}
	info, err := os.Lstat(a.name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().Type() != fs.ModeSocket {
		return nil // what is no socket stays, and the address is in use
	}
	if err != nil {
		return err
	}
	return os.Remove(a.name)
}

// allow gives a Unix socket its permissions.
func (a address) allow() error {
	if !a.isFile() {
		return nil
	}
	return os.Chmod(a.name, a.mode)
}
