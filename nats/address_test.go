package nats

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
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
}

func TestConfigsThatCannotWorkAreRefused(t *testing.T) {
	dir := t.TempDir()
	secret, short := filepath.Join(dir, "secret"), filepath.Join(dir, "short")
	for file, content := range map[string]string{secret: strings.Repeat("s", minSecret), short: "hunter2\n"} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for want, f := range map[string]Fleet{
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
		if err := f.Provision(caddy.Context{}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "u:secret") {
			t.Errorf("got the error %v instead of one with %q", err, want)
		}
	}
}

// Whoever has another secret is not let in, and does not believe the servers of the fleet.
func TestProxyWithAnotherSecretIsNotPartOfTheFleet(t *testing.T) {
	s := newServers(t, 1)
	s.start(t)
	other := s.config
	other.SecretFile = filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other.SecretFile, []byte(strings.Repeat("o", minSecret)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]Fleet{"another secret": other, "no secret": {URL: s.config.URL}} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := open(t, config, "intruder", "").Look(ctx)
		cancel()
		if err == nil || !strings.Contains(err.Error(), "tls") && !strings.Contains(err.Error(), "certificate") && !strings.Contains(err.Error(), "TLS") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
