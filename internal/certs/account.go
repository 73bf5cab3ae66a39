package certs

import (
	"context"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
)

// registrations are the orders that make an account. They keep others waiting.
//
// Without an email address, certmagic looks in storage for an account before each
// order. It takes one that is being written at that moment for one whose address is
// "default", which authorities refuse, and stays with that until the process ends
// (ACMEIssuer.setEmail and mostRecentAccountEmail in certmagic 0.25). The first orders
// of a new proxy, which a deploy with several hosts makes side by side, would meet it.
type registrations struct {
	// mu guards what follows.
	mu sync.Mutex
	// underWay are closed when the order has ended, by the folder of the account.
	underWay map[string]chan struct{}
}

var registering registrations

// begin makes the caller's order the one that makes the account in folder, until done is
// called, or returns another one that does.
func (r *registrations) begin(folder string) (done func(), other <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if other := r.underWay[folder]; other != nil {
		return nil, other
	}
	if r.underWay == nil {
		r.underWay = make(map[string]chan struct{})
	}
	ended := make(chan struct{})
	r.underWay[folder] = ended
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.underWay, folder)
		close(ended)
	}, nil
}

const (
	// accountPoll is the pause between two looks at whether there is an account.
	accountPoll = 50 * time.Millisecond
	// accountMaking is the time that it may take to make one with an authority that can
	// be reached.
	accountMaking = 5 * time.Second
)

// awaitAccount returns when an order by config may look for its account: when that is
// there, or when no other order of ours makes it. It waits for one of them to fail, and
// for the next no longer than making an account takes: with an authority that cannot be
// reached, orders would fail one after the other. done has to be called when the order
// has ended.
func awaitAccount(ctx context.Context, config *certmagic.Config) (done func(), err error) {
	folder := accountFolder(config)
	if folder == "" {
		return func() {}, nil
	}
	begin := time.Now()
	var patience <-chan time.Time
	var first <-chan struct{} // the order that was under way when this one came
	for {
		begun, complete := accountState(ctx, config.Storage, folder)
		if complete {
			return func() {}, nil
		}
		var other <-chan struct{}
		if !begun || time.Since(begin) > accountMaking {
			if done, other = registering.begin(folder); other == nil {
				if begunNow, _ := accountState(ctx, config.Storage, folder); begunNow == begun {
					return done, nil
				}
				done() // it has been made meanwhile
			}
		} // else an order of Caddy's own makes it, or has left a half
		if first == nil {
			first = other
		}
		ended := other
		if patience == nil {
			ended = first // maybe unseen, between two looks: then other is the next one
		}
		select {
		case <-ended:
			if patience == nil {
				patience = time.After(accountMaking)
			}
		case <-patience:
			return func() {}, nil
		case <-time.After(accountPoll):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// accountFolder returns the folder for the accounts that certmagic looks for if it is to
// find one by itself, and nothing if it is not.
func accountFolder(config *certmagic.Config) string {
	if len(config.Issuers) == 0 {
		return ""
	}
	issuer, ok := config.Issuers[0].(acmeIssuer)
	if !ok || issuer.GetACMEIssuer().Email != "" {
		return ""
	}
	return path.Join("acme", certmagic.StorageKeys.Safe(config.Issuers[0].IssuerKey()), "users")
}

// accountState reports whether there is something of an account, and whether it is all
// there: certmagic writes a registration first and then its key.
func accountState(ctx context.Context, storage certmagic.Storage, folder string) (begun, complete bool) {
	keys, err := storage.List(ctx, folder, true)
	if err != nil {
		return false, false // certmagic will find none either
	}
	var registration, key bool
	for _, k := range keys {
		registration = registration || strings.HasSuffix(k, ".json")
		key = key || strings.HasSuffix(k, ".key")
	}
	return len(keys) > 0, registration && key
}
