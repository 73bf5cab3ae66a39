//go:build !linux

package parachute

import (
	"net"
	"time"
)

const canLimitUntaken = false

func limitUntaken(net.Conn, time.Duration) {}
