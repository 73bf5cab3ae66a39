package parachute

import (
	"context"
	"path"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
)

// registering is held by the order that makes an account with an authority.
//
// Without an email address, certmagic looks in storage for an account before each
// order. It takes one that is being written at that moment for one whose address is
// "default", which authorities refuse, and stays with that until the process ends
// (ACMEIssuer.setEmail and mostRecentAccountEmail in certmagic 0.25). The first orders
// of a new proxy, which a deploy with several hosts makes side by side, would meet it.
var registering = make(chan struct{}, 1)

const (
	// accountPoll is the pause between two looks at whether there is an account.
	accountPoll = 50 * time.Millisecond
	// accountWriting is the time that it may take to be written.
	accountWriting = 5 * time.Second
)

// awaitAccount returns when an order by config may look for its account: when that is
// there, or when no other order of ours makes it. done has to be called when the order
// has ended.
func awaitAccount(ctx context.Context, config *certmagic.Config) (done func(), err error) {
	folder := accountFolder(config)
	if folder == "" {
		return nothing, nil
	}
	begin := time.Now()
	for {
		begun, complete := accountState(ctx, config.Storage, folder)
		if complete {
			return nothing, nil
		}
		var mayRegister chan<- struct{}
		if !begun || time.Since(begin) > accountWriting {
			mayRegister = registering // else an order of Caddy's own makes it, or has left a half
		}
		select {
		case mayRegister <- struct{}{}:
			if begunNow, _ := accountState(ctx, config.Storage, folder); begunNow == begun {
				return func() { <-registering }, nil
			}
			<-registering // it has been made meanwhile
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
