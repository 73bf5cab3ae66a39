package front

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"go.uber.org/zap"
)

// TicketKeys gives Caddy the keys of the tickets by which clients resume TLS sessions (RFC 8446, section
// 4.6.1). They belong to the proxy: a reload leaves them as they are, and an upgrade hands them over. They are
// kept in memory alone, so a proxy that was stopped knows no tickets from before. Caddy's settings say how often
// there is a new key, and how many are kept.
type TicketKeys struct {
	service *caddytls.SessionTicketService
}

// CaddyModule returns the Caddy module information.
func (TicketKeys) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "tls.stek.parachute", New: func() caddy.Module { return new(TicketKeys) }}
}

// Initialize implements [caddytls.STEKProvider]. It returns the keys that there are, and makes one if it is
// time for that.
func (k *TicketKeys) Initialize(service *caddytls.SessionTicketService) ([][32]byte, error) {
	k.service = service
	keys, _, err := process.tickets.current(service, time.Now())
	return keys, err
}

// Next implements [caddytls.STEKProvider].
func (k *TicketKeys) Next(done <-chan struct{}) <-chan [][32]byte {
	next := make(chan [][32]byte)
	go func() {
		for {
			keys, wait, err := process.tickets.current(k.service, time.Now())
			if err != nil {
				caddy.Log().Named("tls.tickets").Error("the keys of TLS session tickets stay as they are for now", zap.Error(err))
			} else {
				select {
				case next <- keys:
				case <-done:
					return
				}
			}
			select {
			case <-time.After(wait):
			case <-done:
				return
			}
		}
	}()
	return next
}

// tickets are the keys of session tickets of a process. The zero value has none.
type tickets struct {
	mu  sync.Mutex
	now ticketKeys
}

// ticketKeys are keys as they are handed over.
type ticketKeys struct {
	// Keys are those that tickets are read with, the newest first: they are written with that one.
	Keys [][32]byte
	// Made is when the newest was made.
	Made time.Time
}

// current returns the keys, with a new one if the newest is older than service wants, and how long they stay
// as they are.
func (t *tickets) current(service *caddytls.SessionTicketService, now time.Time) (keys [][32]byte, stay time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	interval := time.Duration(service.RotationInterval)
	// A clock that was set back must not have a key stay for long.
	if age := now.Sub(t.now.Made); len(t.now.Keys) > 0 && age >= 0 && age < interval {
		return slices.Clone(t.now.Keys), interval - age, nil
	}
	// RotateSTEKs zeroes the key that it drops, which a config may still use, so it gets a copy.
	rotated, err := service.RotateSTEKs(slices.Clone(t.now.Keys))
	if err != nil {
		return nil, retryKeys, fmt.Errorf("making a key for TLS session tickets: %w", err)
	}
	t.now = ticketKeys{rotated, now}
	return slices.Clone(rotated), interval, nil
}

// retryKeys is the time after which it is tried again to make a key.
const retryKeys = time.Minute

// handOver returns the keys for the next process.
func (t *tickets) handOver() ticketKeys {
	t.mu.Lock()
	defer t.mu.Unlock()
	return ticketKeys{slices.Clone(t.now.Keys), t.now.Made}
}

// inherit takes over the keys of the process before.
func (t *tickets) inherit(keys ticketKeys) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now = keys
}
