package nats

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/parachute-proxy/parachute/internal/fleet/fleettest"
)

func TestAddressHasServersUserAndBucket(t *testing.T) {
	a, err := parseAddress("nats://u:p%40ss@10.0.0.1,10.0.0.2:5222,[::1]/shop")
	if err != nil {
		t.Fatal(err)
	}
	if got := a.urls(); got != "nats://u:p%40ss@10.0.0.1:4222,nats://u:p%40ss@10.0.0.2:5222,nats://u:p%40ss@[::1]:4222" || a.bucket != "shop" {
		t.Error(got, a.bucket)
	}
	if got := a.urlsFrom("10.0.0.2:5222"); !strings.HasPrefix(got, "nats://u:p%40ss@10.0.0.2:5222,") || strings.Count(got, "10.0.0.2") != 1 {
		t.Error(got)
	}
	if got := a.urlsUpTo("10.0.0.2:5222"); !strings.HasSuffix(got, ",nats://u:p%40ss@10.0.0.2:5222") || strings.Count(got, "10.0.0.2") != 1 {
		t.Error(got)
	}
}

func TestConfigsThatCannotWorkAreRefused(t *testing.T) {
	dir := t.TempDir()
	secret, short := filepath.Join(dir, "secret"), filepath.Join(dir, "short")
	for file, content := range map[string]string{secret: strings.Repeat("s", minSecret), short: "hunter2\n"} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for want, f := range map[string]Connection{
		"does not begin with nats://":        {URL: "http://a"},
		"is not the address of a server":     {URL: "nats://u:secret@a,,b"},
		"is not the name of a bucket":        {URL: "nats://a/b.c"},
		"twice":                              {URL: "nats://a,a:4222"},
		"needs a secret":                     {URL: "nats://a", Server: "a"},
		"shorter than 32 characters":         {URL: "nats://a", Server: "a", SecretFile: short},
		"has a user":                         {URL: "nats://u:secret@a", SecretFile: secret},
		"use three or five":                  {URL: "nats://a,b", SecretFile: secret},
		"none of those":                      {URL: "nats://a,b,c", Server: "d", SecretFile: secret},
		"reading the secret of the fleet":    {URL: "nats://a,b,c", Server: "a", SecretFile: dir + "/none"},
		"is not encoded as in URLs":          {URL: "nats://u:%zz@a"},
		"so that the servers have one":       {URL: "nats://a:64000", Server: "a:64000", SecretFile: secret},
		"is not the address of a server, su": {URL: "nats://", Server: ""},
	} {
		if err := f.check(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "u:secret") {
			t.Errorf("got the error %v instead of one with %q", err, want)
		}
	}
}

// Whoever has another secret is not let in, and does not believe the servers of the fleet.
func TestProxyWithAnotherSecretIsNotPartOfTheFleet(t *testing.T) {
	t.Parallel() // it waits more than it computes
	s := newServers(t, 1)
	s.start(t)
	other := s.config
	other.SecretFile = filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other.SecretFile, []byte(strings.Repeat("o", minSecret)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]Fleet{"another secret": other, "no secret": {Connection{URL: s.config.URL}}} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, err := open(t, config, "intruder", "").Look(ctx)
		cancel()
		if err == nil || !strings.Contains(err.Error(), "tls") && !strings.Contains(err.Error(), "certificate") && !strings.Contains(err.Error(), "TLS") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Each error says why the servers are not reached, also if some are down and one says why.
func TestServersThatAreNotReachedAreSaidToBeForAReason(t *testing.T) {
	t.Parallel() // it waits more than it computes
	address := ownNATS(t)
	_, up, _ := strings.Cut(address, "@")
	down := newServers(t, 2).addrs
	for want, url := range map[string]string{
		"authorization": "nats://u:wrong@" + down[0] + "," + up + "," + down[1],
		"refused":       "nats://" + down[0] + "," + down[1],
	} {
		b := open(t, Fleet{Connection{URL: url}}, want, "")
		first, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, _ = b.Look(first) // by when every server was tried
		cancel()
		// Another caller, who has more time, is the one who waits for the connection.
		longer, cancel := context.WithCancel(t.Context())
		waits := make(chan error, 1)
		go func() {
			_, err := b.Look(longer)
			waits <- err
		}()
		defer func() { cancel(); <-waits }()
		for range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := b.Look(ctx)
			cancel()
			if err == nil || !strings.Contains(strings.ToLower(err.Error()), want) {
				t.Errorf("got the error %v instead of one with %q", err, want)
			}
		}
	}
}

// A password that was changed at the one end first does not need the proxies to be restarted.
func TestPasswordThatIsRefusedIsTriedAgain(t *testing.T) {
	t.Parallel() // it waits more than it computes
	s := startNATS(t, natsserver.RANDOM_PORT, "before")
	port := s.Addr().(*net.TCPAddr).Port
	b := open(t, Fleet{Connection{URL: fmt.Sprintf("nats://u:after@127.0.0.1:%d", port)}}, "early", "")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // many attempts
	_, err := b.Look(ctx)
	cancel()
	if err == nil || !strings.Contains(err.Error(), "Authorization") {
		t.Errorf("got the error %v", err)
	}
	s.Shutdown()
	s.WaitForShutdown()
	startNATS(t, port, "after")
	fleettest.Await(t, "the password is taken", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := b.Look(ctx)
		return err == nil
	})
}
