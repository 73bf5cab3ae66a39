package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/parachute-proxy/parachute/bench/internal/peer"
	"github.com/parachute-proxy/parachute/integration/rig"
)

// change is what the operator of a proxy does to it.
type change string

const (
	reload  change = "reload"
	upgrade change = "upgrade"
	restart change = "restart"
)

var changes = []change{reload, upgrade, restart}

// proxy is one that its operator changes while clients use it.
type proxy interface {
	name() string
	askVersion(ctx context.Context) (string, error)
	// http3 reports whether it serves HTTP/3 without being asked to.
	http3() bool
	// start starts it, and returns where it forwards requests for peer.Host.
	start(ctx context.Context) (plain, secure string, err error)
	// change returns what makes a change, as the manual of the proxy has it, and returns when it
	// is made; nil if the proxy has no such thing.
	change(change) func(context.Context) error
	stop()
}

// known is a proxy whose version is known.
type known struct {
	proxy
	version string
}

// findProxies returns the proxies that are here. parachute is the first.
func findProxies(ctx context.Context, s peer.Setup, o options, out io.Writer) (found []known, err error) {
	kamal := &kamalProxy{setup: s, Kamal: peer.Kamal{Binary: filepath.Join(s.Dir, "kamal-proxy")}}
	for _, p := range []proxy{&parachute{setup: s, binary: o.binary}, &caddy{setup: s, binary: o.binary}, kamal, &nginx{setup: s}, &haproxy{setup: s}} {
		if len(found) > 0 && !o.proxies.MatchString(p.name()) {
			continue
		}
		version, err := p.askVersion(ctx)
		switch {
		case err == nil:
			fmt.Fprintf(out, "With %s: %s\n", p.name(), version)
			found = append(found, known{p, version})
		case len(found) == 0:
			return nil, err
		default:
			fmt.Fprintf(out, "Without %s: %v\n", p.name(), err)
		}
	}
	return found, nil
}

// pause is how long clients have a proxy for themselves between two changes.
const pause = 200 * time.Millisecond

const (
	// requestPatience is how long a request may take, which the application answers at once. Some are never
	// answered by a server for HTTP/2 that ends.
	requestPatience = 5 * time.Second
	// patience bounds each wait.
	patience = time.Minute
)

// suffering is what became of the requests of clients, by their class, and how long no connection was
// taken at each change.
type suffering struct {
	outcomes map[string]rig.RawOutcome
	closed   time.Duration
}

// suffer makes a change of a proxy so many times while there are clients.
func suffer(ctx context.Context, p proxy, c change, times, clients int) (*suffering, error) {
	plain, secure, err := p.start(ctx)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	// What is measured begins with a proxy that serves.
	if err := until(ctx, func() error { return serves(plain) }); err != nil {
		return nil, err
	}
	load := rig.StartRawLoad(rig.RawTarget{
		Plain: plain, Secure: secure, PlainHost: peer.Host, SecureHost: peer.Host, Path: "/",
		TLS:      &tls.Config{InsecureSkipVerify: true, ServerName: peer.Host},
		Patience: requestPatience, HTTP3: p.http3(),
	}, clients)
	watch := watchPort(plain)
	defer watch.stop()
	for range times {
		before := load.Answered()
		if err := p.change(c)(ctx); err != nil {
			load.Stop()
			return nil, err
		}
		time.Sleep(pause)
		err := until(ctx, func() error {
			if load.Answered() > before {
				return nil
			}
			return errors.New("a class has no answers any more")
		})
		if err != nil {
			load.Stop()
			return nil, err
		}
	}
	return &suffering{load.Stop(), watch.stop() / time.Duration(times)}, nil
}

// portWatch finds out how long a port takes no connections.
type portWatch struct {
	end, ended chan struct{}
	once       sync.Once
	closed     time.Duration
}

func watchPort(addr string) *portWatch {
	w := &portWatch{end: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		for last := time.Now(); ; {
			conn, err := net.DialTimeout("tcp", addr, time.Second)
			now := time.Now()
			if err == nil {
				conn.Close()
			} else {
				w.closed += now.Sub(last)
			}
			last = now
			select {
			case <-w.end:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	return w
}

// stop ends the watch, and returns how long the port has taken none.
func (w *portWatch) stop() time.Duration {
	w.once.Do(func() { close(w.end) })
	<-w.ended
	return w.closed
}

// serves returns nil if a proxy forwards requests.
func serves(addr string) error {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	conn.Close()
	req, err := http.NewRequest(http.MethodGet, "http://"+addr+"/", nil)
	if err != nil {
		return err
	}
	req.Host, req.Close = peer.Host, true
	resp, err := (&http.Client{Timeout: time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		return errors.New(resp.Status)
	}
	return nil
}

// until waits until ready returns nil.
func until(ctx context.Context, ready func() error) error {
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		err := ready()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil || time.Now().After(end) {
			return err
		}
	}
}
