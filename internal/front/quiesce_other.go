//go:build !linux

package front

import "net"

func quiesce(net.Listener) {}
