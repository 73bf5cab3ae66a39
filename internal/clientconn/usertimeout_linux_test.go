package clientconn

import (
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A connection can outlive the config that it came by: how long its client may stall is for
// the newest one to say.
func TestStallLimitOfAConnectionIsThatOfTheNewestConfig(t *testing.T) {
	first, next := stallLimit{limit: time.Minute}, stallLimit{limit: 2 * time.Minute}
	_, c := connPair(t)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r = r.WithContext(first.connContext(r.Context(), c))
	for _, limit := range []stallLimit{first, next, {}, first} {
		for _, conn := range []*Conn{nil, c} {
			if got := limit.boundBySystem(r.Context(), conn); got != (limit.limit > 0) {
				t.Errorf("with a limit of %s, bound is %t", limit.limit, got)
			}
			if got := userTimeout(t, c); got != limit.limit {
				t.Errorf("with a limit of %s, the system's is %s", limit.limit, got)
			}
		}
	}
	if next.boundBySystem(t.Context(), nil) {
		t.Error("a connection that came by a config without a limit is bound by the system")
	}
}

func userTimeout(t *testing.T, c syscall.Conn) time.Duration {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var ms int
	var got error
	if err := raw.Control(func(fd uintptr) {
		ms, got = unix.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
	}); err != nil || got != nil {
		t.Fatal(err, got)
	}
	return time.Duration(ms) * time.Millisecond
}
