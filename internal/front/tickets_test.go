package front

import (
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
)

// TestTicketKeysChangeWithTime, and not with configs, nor with processes.
func TestTicketKeysChangeWithTime(t *testing.T) {
	service := &caddytls.SessionTicketService{RotationInterval: caddy.Duration(time.Hour), MaxKeys: 2}
	var first, next tickets
	now := time.Now()
	at := func(keys *tickets, age time.Duration) [][32]byte {
		t.Helper()
		got, stay, err := keys.current(service, now.Add(age))
		if err != nil || stay <= 0 || stay > time.Hour {
			t.Fatalf("%s: %s, %v", age, stay, err)
		}
		return got
	}
	a := at(&first, 0)
	if b := at(&first, 59*time.Minute); len(a) != 1 || len(b) != 1 || a[0] != b[0] {
		t.Errorf("another config has other keys")
	}
	next.inherit(first.handOver())
	if b := at(&next, 59*time.Minute); len(b) != 1 || a[0] != b[0] {
		t.Errorf("the next process has other keys")
	}
	b := at(&next, time.Hour)
	if len(b) != 2 || b[0] == a[0] || b[1] != a[0] {
		t.Errorf("after an hour, there is no new key, or the one before is gone")
	}
	c := at(&next, 2*time.Hour)
	if len(c) != 2 || c[1] != b[0] || b[1] != a[0] {
		t.Errorf("after two hours, there are %d keys", len(c))
	}
	if d := at(&next, time.Minute); d[0] == c[0] {
		t.Errorf("a clock that was set back keeps a key")
	}
}

func TestTicketKeysAreToldWhenTheyChange(t *testing.T) {
	k := new(TicketKeys)
	service := &caddytls.SessionTicketService{RotationInterval: caddy.Duration(time.Millisecond), MaxKeys: 2}
	before, err := k.Initialize(service)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	defer close(done)
	next := k.Next(done)
	for keys := before; keys[0] == before[0]; {
		select {
		case keys = <-next:
		case <-time.After(10 * time.Second):
			t.Fatal("there is no new key")
		}
	}
}
