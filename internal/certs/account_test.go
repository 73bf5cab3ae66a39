package certs

import (
	"cmp"
	"context"
	"errors"
	"path"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/caddyserver/certmagic"
)

// testACMEIssuer is one whose accounts certmagic looks for, unless it has an address.
type testACMEIssuer struct {
	testIssuer
	acme *caddytls.ACMEIssuer
	key  string // of the issuer; default: test
}

func (i testACMEIssuer) IssuerKey() string { return cmp.Or(i.key, i.testIssuer.IssuerKey()) }

func (i testACMEIssuer) GetACMEIssuer() *caddytls.ACMEIssuer { return i.acme }

// The first orders of a new proxy come side by side. One of them makes the account, and
// the others look for it when it is whole, but need not wait for the order.
func TestAccountIsLookedForWhenItIsWhole(t *testing.T) {
	storage := &certmagic.FileStorage{Path: t.TempDir()}
	config := &certmagic.Config{Storage: storage, Issuers: []certmagic.Issuer{testACMEIssuer{acme: new(caddytls.ACMEIssuer)}}}
	write := func(file string) {
		t.Helper()
		if err := storage.Store(t.Context(), path.Join("acme", "test", "users", "default", file), []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	first, err := awaitAccount(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	others := make(chan error, 5)
	for range cap(others) {
		go func() {
			done, err := awaitAccount(t.Context(), config)
			if err == nil {
				done()
			}
			others <- err
		}()
	}
	wantWaiting := func(when string) {
		t.Helper()
		select {
		case err := <-others:
			t.Fatalf("an order goes on %s: %v", when, err)
		case <-time.After(3 * accountPoll): // only a fault would end it
		}
	}
	wantWaiting("beside the one that makes the account")
	write("default.json")
	wantWaiting("when half of the account is there")
	write("default.key")
	for range cap(others) {
		select {
		case err := <-others:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("an order waits although the account is there")
		}
	}
	first()
}

func TestOrderWithoutAnAccountToWaitForGoesOn(t *testing.T) {
	withAddress := testACMEIssuer{acme: &caddytls.ACMEIssuer{Email: "me@example.com"}}
	for name, issuers := range map[string][]certmagic.Issuer{
		"an address is given": {withAddress}, "not by ACME": {testIssuer{}}, "no issuer": nil,
	} {
		config := &certmagic.Config{Storage: &certmagic.FileStorage{Path: t.TempDir()}, Issuers: issuers}
		for range 2 { // neither of which ends
			if _, err := awaitAccount(t.Context(), config); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// An authority that cannot be reached keeps nobody from another one, and those who have
// waited for one order to fail do not wait for the next.
func TestOrdersWaitForOneRegistration(t *testing.T) {
	t.Parallel()
	storage := &certmagic.FileStorage{Path: t.TempDir()}
	orderBy := func(key string) *certmagic.Config {
		return &certmagic.Config{Storage: storage, Issuers: []certmagic.Issuer{testACMEIssuer{acme: new(caddytls.ACMEIssuer), key: key}}}
	}
	failing, err := awaitAccount(t.Context(), orderBy("away"))
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := awaitAccount(t.Context(), orderBy("here"))
	if err != nil {
		t.Fatal(err)
	}
	elsewhere()
	const orders = 5
	goOn := make(chan func(), orders)
	for range orders {
		go func() {
			done, err := awaitAccount(t.Context(), orderBy("away"))
			if err != nil {
				t.Error(err)
				done = func() {}
			}
			goOn <- done
		}()
	}
	select {
	case <-goOn:
		t.Fatal("an order goes on beside the one that makes the account")
	case <-time.After(3 * accountPoll): // only a fault would end it
	}
	failing()
	for i := range orders {
		select {
		case done := <-goOn:
			if i == 0 {
				defer done() // so the others do not go on because it has ended
				continue
			}
			done()
		case <-time.After(accountMaking + 20*time.Second):
			t.Fatal("an order waits for another one to fail after the first")
		}
	}
}

// An order that fails before there is an account lets the next one try, and one that is
// given up does not wait.
func TestOrderThatMakesNoAccountLetsTheNextTry(t *testing.T) {
	config := &certmagic.Config{Storage: &certmagic.FileStorage{Path: t.TempDir()}, Issuers: []certmagic.Issuer{testACMEIssuer{acme: new(caddytls.ACMEIssuer)}}}
	failed, err := awaitAccount(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, giveUp := context.WithCancelCause(t.Context())
	why := errors.New("given up")
	giveUp(why)
	if _, err := awaitAccount(ctx, config); !errors.Is(err, why) {
		t.Errorf("an order that is given up ends with %v", err)
	}
	failed()
	next, err := awaitAccount(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	next()
}
