//go:build !linux

package clientconn

import (
	"net"
	"time"
)

const hasUserTimeout = false

func setUserTimeout(net.Conn, time.Duration) {}
