package certs

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"

	"github.com/parachute-proxy/parachute/internal/api"
)

// newTestHost returns what a config has that serves no TLS.
func newTestHost(t testing.TB) *CaddyConfig {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	return NewCaddyConfig(ctx, func(certmagic.Manager) bool { return false })
}

// newTestCertificates returns certificates without an engine, which work with a config
// that serves no TLS.
func newTestCertificates(t testing.TB) *Manager {
	c := New()
	c.Attach(newTestHost(t))
	t.Cleanup(c.Close)
	return c
}

// A host may be removed in the moment of a reload.
func TestReloadDoesNotBringARemovedHostBack(t *testing.T) {
	c := newTestCertificates(t)
	for round := range 20 {
		begun := make(chan struct{})
		for i := range 200 {
			k := keptCertificate{api.IssuerAuto, fmt.Sprintf("h%d.test", i)}
			c.Keep(k.host, k.issuer)
			end := c.kept[k].end
			c.kept[k].end = sync.OnceFunc(func() {
				end()
				if i == 0 {
					close(begun)
				}
			})
		}
		next := newTestHost(t)
		var both sync.WaitGroup
		both.Go(func() { c.Attach(next) })
		both.Go(func() {
			<-begun
			for i := range 200 {
				c.Forget(fmt.Sprintf("h%d.test", i), api.IssuerAuto)
			}
		})
		both.Wait()
		if n := len(c.kept); n > 0 {
			t.Fatalf("round %d: %d removed hosts are looked after", round, n)
		}
	}
}

// What is begun anew for no reason is an order too many.
func TestOnlyAnotherConfigBeginsAnew(t *testing.T) {
	c := newTestCertificates(t)
	c.Keep("a.test", api.IssuerAuto)
	begun := 0
	k := keptCertificate{api.IssuerAuto, "a.test"}
	count := func() {
		end := c.kept[k].end
		c.kept[k].end = func() { begun++; end() }
	}
	count()
	c.Attach(c.config)
	if begun != 0 {
		t.Errorf("the same config has begun %d times", begun)
	}
	before := c.kept[k]
	before.failed(time.Now())
	c.Attach(newTestHost(t))
	if begun != 1 {
		t.Errorf("another config has begun %d times", begun)
	}
	if after := c.kept[k]; after.pause != pursuePause || !time.Now().Before(after.next) {
		t.Errorf("a reload puts the next attempt to %s, with a pause of %s", after.next, after.pause)
	}
	c.Keep("a.test", api.IssuerAuto)
	if p := c.kept[k]; !p.next.IsZero() {
		t.Errorf("a deploy puts the next attempt to %s", p.next)
	}
}

func TestPausesBetweenOrdersGrow(t *testing.T) {
	var p pursuit
	now := time.Now()
	for _, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute} {
		p.failed(now)
		if got := p.next.Sub(now); got != want {
			t.Errorf("the pause is %s, want %s", got, want)
		}
	}
	for range 100 {
		p.failed(now)
	}
	if got := p.next.Sub(now); got != maxPursuePause {
		t.Errorf("in the end, the pause is %s", got)
	}
	for range 2 { // the second reload has no more to bring forward
		p.reloaded()
		if got := p.next.Sub(now); got != maxReloadPause {
			t.Errorf("after a reload, the pause is %s", got)
		}
	}
	p.failed(now)
	if got := p.next.Sub(now); got != 2*maxReloadPause {
		t.Errorf("after a reload and another failure, the pause is %s", got)
	}
}
