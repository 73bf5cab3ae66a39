package nats

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/certmagic"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/fleet/fleettest"
)

// testStorage is the storage of one proxy, and what ends it.
type testStorage struct {
	*sharedStorage
	link *link
}

// openStorage opens the storage of a proxy of a name.
func openStorage(t *testing.T, address, name, dir, local string) testStorage {
	t.Helper()
	c := Connection{URL: address}
	if err := c.check(); err != nil {
		t.Fatal(err)
	}
	l, release, err := c.open(name, dir, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	s := newSharedStorage(&fileBucket{link: l}, name, zap.NewNop())
	s.copies, s.local = copiesIn(dir), &certmagic.FileStorage{Path: local}
	s.locks.lease = 2 * time.Second
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		s.cancel()
		s.locks.close(ctx)
		release()
	})
	return testStorage{s, l}
}

func newStorage(t *testing.T, address, name string) testStorage {
	t.Helper()
	return openStorage(t, address, name, t.TempDir(), t.TempDir())
}

// storages are that in NATS and the one of files that Caddy has by default: both keep what certmagic wants.
func storages(t *testing.T) map[string]certmagic.Storage {
	return map[string]certmagic.Storage{
		"NATS": newStorage(t, ownNATS(t), "proxy-1"), "files": &certmagic.FileStorage{Path: t.TempDir()},
	}
}

func TestStorageKeepsWhatCertmagicWants(t *testing.T) {
	for name, s := range storages(t) {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			values := map[string]string{
				"certificates/ca.example-directory/a.example/a.example.crt": "cert", "certificates/ca.example-directory/a.example/a.example.key": "key",
				"certificates/ca.example-directory/wildcard_.b.example/x.crt": "", "certificates/local/c.example/c.example.crt": "own",
				"acme/ca.example-directory/users/me@example.com/me.json": "{}", "ocsp/a.example-0123": strings.Repeat("o", 100_000),
				"a key with *, >, = and ü/in.it": "odd", "last_clean.json": "1",
			}
			for key, value := range values {
				for _, v := range []string{"before", value} {
					if err := s.Store(ctx, key, []byte(v)); err != nil {
						t.Fatal(err)
					}
				}
			}
			for key, value := range values {
				got, err := s.Load(ctx, key)
				if err != nil || string(got) != value {
					t.Errorf("%s: %.20q, %v", key, got, err)
				}
				info, err := s.Stat(ctx, key)
				if err != nil || info.Key != key || info.Size != int64(len(value)) || !info.IsTerminal || time.Since(info.Modified).Abs() > time.Minute || !s.Exists(ctx, key) {
					t.Errorf("%s: %+v, %v", key, info, err)
				}
			}
			if info, err := s.Stat(ctx, "certificates/ca.example-directory"); err != nil || info.IsTerminal || !s.Exists(ctx, "acme") {
				t.Errorf("a folder is %+v, %v", info, err)
			}
			for _, missing := range []string{"none", "certificates/none", "certificates/ca.example-directory/a.example/a.example.cr", "certificates/ca"} {
				if _, err := s.Load(ctx, missing); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("loading %s: %v", missing, err)
				}
				if _, err := s.Stat(ctx, missing); !errors.Is(err, fs.ErrNotExist) || s.Exists(ctx, missing) {
					t.Errorf("looking for %s: %v", missing, err)
				}
				if _, err := s.List(ctx, missing, true); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("listing %s: %v", missing, err)
				}
				if err := s.Delete(ctx, missing); err != nil {
					t.Errorf("deleting %s: %v", missing, err)
				}
			}
			lists := func(folder string, recursive bool, want ...string) {
				t.Helper()
				got, err := s.List(ctx, folder, recursive)
				if slices.Sort(got); err != nil || !slices.Equal(got, want) {
					t.Errorf("%s has %q, %v; want %q", folder, got, err, want)
				}
			}
			lists("", false, "a key with *, >, = and ü", "acme", "certificates", "last_clean.json", "ocsp")
			lists("certificates", false, "certificates/ca.example-directory", "certificates/local")
			lists("certificates", true, "certificates/ca.example-directory",
				"certificates/ca.example-directory/a.example", "certificates/ca.example-directory/a.example/a.example.crt", "certificates/ca.example-directory/a.example/a.example.key",
				"certificates/ca.example-directory/wildcard_.b.example", "certificates/ca.example-directory/wildcard_.b.example/x.crt",
				"certificates/local", "certificates/local/c.example", "certificates/local/c.example/c.example.crt")
			lists("last_clean.json", false)
			if err := s.Delete(ctx, "certificates/ca.example-directory/a.example"); err != nil {
				t.Fatal(err)
			}
			lists("certificates/ca.example-directory", false, "certificates/ca.example-directory/wildcard_.b.example")
			if err := s.Delete(ctx, "last_clean.json"); err != nil || s.Exists(ctx, "last_clean.json") {
				t.Errorf("%v, and it exists: %v", err, s.Exists(ctx, "last_clean.json"))
			}
		})
	}
}

// One value is read whole while others are written, and the last one that was written stays.
func TestValueIsReadWhole(t *testing.T) {
	address := ownNATS(t)
	one, other := newStorage(t, address, "proxy-1"), newStorage(t, address, "proxy-2")
	const key, size = "certificates/x/x/x.crt", 300_000
	write := func(b string) error { return one.Store(t.Context(), key, []byte(strings.Repeat(b, size))) }
	if err := write("a"); err != nil {
		t.Fatal(err)
	}
	var writing sync.WaitGroup
	writing.Go(func() {
		for _, b := range []string{"b", "c", "d", "e"} {
			if err := write(b); err != nil {
				t.Error(err)
			}
		}
	})
	for range 10 {
		v, err := other.Load(t.Context(), key)
		if err != nil || string(v) != strings.Repeat(string(v[:1]), size) {
			t.Errorf("%d bytes, %v", len(v), err)
		}
	}
	writing.Wait()
	if v, err := other.Load(t.Context(), key); err != nil || v[0] != 'e' {
		t.Errorf("%.1s, %v", v, err)
	}
}

func TestWhatNATSDoesNotTakeIsRefusedWithAReason(t *testing.T) {
	s := newStorage(t, ownNATS(t), "proxy-1")
	began := time.Now()
	if err := s.Store(t.Context(), "big", make([]byte, 2<<20)); err == nil || !strings.Contains(err.Error(), "max_payload") {
		t.Error(err)
	}
	if err := s.Store(t.Context(), strings.Repeat("k", 3000), nil); err == nil || !strings.Contains(err.Error(), "too long for NATS") {
		t.Error(err)
	}
	if time.Since(began) > writePatience/2 {
		t.Error("it was tried again and again")
	}
}

func TestLockHasOneHolderAmongAllProxies(t *testing.T) {
	address := ownNATS(t)
	proxies := []testStorage{newStorage(t, address, "proxy-1"), newStorage(t, address, "proxy-2")}
	var holders, got atomic.Int64
	var all sync.WaitGroup
	for i := range 12 {
		s := proxies[i%2]
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if err := s.Lock(ctx, "issue_cert_*.example.com"); err != nil {
				t.Error(err)
				return
			}
			if n := holders.Add(1); n != 1 {
				t.Errorf("%d holders", n)
			}
			got.Add(1)
			if isHeld, err := proxies[(i+1)%2].TryLock(ctx, "issue_cert_*.example.com"); isHeld || err != nil {
				t.Errorf("it is held twice: %v, %v", isHeld, err)
			}
			holders.Add(-1)
			if err := s.Unlock(ctx, "issue_cert_*.example.com"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got.Load() != 12 {
		t.Errorf("%d of 12 have got it", got.Load())
	}
	if isHeld, err := proxies[1].TryLock(t.Context(), "another"); !isHeld || err != nil {
		t.Errorf("another lock: %v, %v", isHeld, err)
	}
}

func TestLockIsKeptForLongerThanItsLease(t *testing.T) {
	address := ownNATS(t)
	one, other := newStorage(t, address, "proxy-1"), newStorage(t, address, "proxy-2")
	if err := one.Lock(t.Context(), "l"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*one.locks.lease)
	defer cancel()
	if err := other.Lock(ctx, "l"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the other one: %v", err)
	}
	if err := one.RenewLockLease(t.Context(), "l", time.Hour); err != nil {
		t.Error(err)
	}
	if err := one.Unlock(t.Context(), "l"); err != nil {
		t.Error(err)
	}
	if isHeld, err := other.TryLock(t.Context(), "l"); !isHeld || err != nil {
		t.Errorf("%v, %v", isHeld, err)
	}
}

// pause has a holder not renew its lock any more, as a process that is stopped, and then go on.
func (s *sharedStorage) pause(name string) (resume func()) {
	s.locks.mu.Lock()
	k := s.locks.held[name][0]
	s.locks.mu.Unlock()
	k.release()
	<-k.released
	return func() {
		ctx, cancel := context.WithCancel(context.Background())
		k.release, k.released = cancel, make(chan struct{})
		go func() { defer close(k.released); k.keep(ctx) }()
	}
}

func TestLockOfADeadProxyIsFreeAfterItsLease(t *testing.T) {
	address := ownNATS(t)
	dead, other := newStorage(t, address, "proxy-1"), newStorage(t, address, "proxy-2")
	if err := dead.Lock(t.Context(), "l"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	dead.pause("l")
	ctx, cancel := context.WithTimeout(t.Context(), 10*dead.locks.lease)
	defer cancel()
	if err := other.Lock(ctx, "l"); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(began); d < dead.locks.lease/2 || d > 3*dead.locks.lease {
		t.Errorf("it was free after %s", d)
	}
}

func TestHolderThatWasPausedLearnsThatItHasLostTheLock(t *testing.T) {
	address := ownNATS(t)
	paused, next, third := newStorage(t, address, "proxy-1"), newStorage(t, address, "proxy-2"), newStorage(t, address, "proxy-3")
	if err := paused.Lock(t.Context(), "l"); err != nil {
		t.Fatal(err)
	}
	resume := paused.pause("l")
	if err := next.Lock(t.Context(), "l"); err != nil {
		t.Fatal(err)
	}
	resume()
	if err := paused.RenewLockLease(t.Context(), "l", time.Hour); !errors.Is(err, errLockLost) {
		t.Errorf("renewing: %v", err)
	}
	if err := paused.Unlock(t.Context(), "l"); !errors.Is(err, errLockLost) {
		t.Errorf("unlocking: %v", err)
	}
	if isHeld, err := third.TryLock(t.Context(), "l"); isHeld || err != nil {
		t.Errorf("it has unlocked that of the next holder: %v, %v", isHeld, err)
	}
	if err := next.Unlock(t.Context(), "l"); err != nil {
		t.Error(err)
	}
}

// In one process, too, whoever comes late does not release the lock of the next one.
func TestLateUnlockInTheSameProcessReleasesItsOwnLock(t *testing.T) {
	s := newStorage(t, ownNATS(t), "proxy-1")
	if err := s.Lock(t.Context(), "l"); err != nil {
		t.Fatal(err)
	}
	resume := s.pause("l")
	if err := s.Lock(t.Context(), "l"); err != nil {
		t.Fatal(err)
	}
	resume()
	if err := s.Unlock(t.Context(), "l"); !errors.Is(err, errLockLost) {
		t.Errorf("the first: %v", err)
	}
	if isHeld, err := s.TryLock(t.Context(), "l"); isHeld || err != nil {
		t.Errorf("the second has lost its lock: %v, %v", isHeld, err)
	}
	if err := s.Unlock(t.Context(), "l"); err != nil {
		t.Errorf("the second: %v", err)
	}
}

func TestLockWaitsNoLongerThanItsCaller(t *testing.T) {
	address := ownNATS(t)
	one, other := newStorage(t, address, "proxy-1"), newStorage(t, address, "proxy-2")
	if err := one.Lock(t.Context(), "l"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	began := time.Now()
	if err := other.Lock(ctx, "l"); !errors.Is(err, context.Canceled) || time.Since(began) > requestTimeout {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}

// A proxy that is restarted while NATS is away has its certificates, orders none, and shares again when NATS is back.
func TestCertificatesOutliveNATS(t *testing.T) {
	cluster := newServers(t, 1)
	server := cluster.start(t)[0]
	dir := t.TempDir()
	config := cluster.config
	start := func() testStorage {
		if err := config.check(); err != nil {
			t.Fatal(err)
		}
		l, release, err := config.open("proxy-2", dir, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		s := newSharedStorage(&fileBucket{link: l}, "proxy-2", zap.NewNop())
		s.copies, s.local = copiesIn(dir), &certmagic.FileStorage{Path: t.TempDir()}
		t.Cleanup(func() { s.cancel(); release() })
		return testStorage{s, l}
	}
	const used, unused = "certificates/ca/a.example/a.example.key", "certificates/ca/b.example/b.example.key"
	s := start()
	for _, key := range []string{used, unused} {
		if err := s.files.store(t.Context(), key, []byte(key)); err != nil { // as another proxy does
			t.Fatal(err)
		}
	}
	if _, err := s.Load(t.Context(), used); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(s.copies.Filename(used)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy of a key: %v, %v", info, err)
	}
	fleettest.Await(t, "the proxy has joined", s.hasJoined)

	server.link.runs.Shutdown()
	server.link.runs.WaitForShutdown()
	again := start()
	again.began = time.Now().Add(-joinPatience)
	if v, err := again.Load(t.Context(), used); err != nil || string(v) != used || !again.Exists(t.Context(), used) {
		t.Errorf("without NATS: %q, %v", v, err)
	}
	if keys, err := again.List(t.Context(), "certificates/ca", false); err != nil || len(keys) != 1 {
		t.Errorf("without NATS: %q, %v", keys, err)
	}
	began := time.Now()
	if _, err := again.Load(t.Context(), unused); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not copied is said not to be there: %v", err)
	}
	if d := time.Since(began); d > readPatience/2 {
		t.Errorf("NATS was waited for again, for %s", d)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := again.Store(ctx, used, []byte("newer")); err == nil {
		t.Error("a value was stored without NATS")
	}
	if err := again.Lock(ctx, "l"); err == nil {
		t.Error("a lock was got without NATS")
	}
	if v, err := again.Load(t.Context(), used); err != nil || string(v) != used {
		t.Errorf("what NATS has not got is in the copies: %q, %v", v, err)
	}

	cluster.restart(t, server, 0)
	fleettest.Await(t, "it shares again", func() bool { return again.Store(t.Context(), used, []byte("newer")) == nil })
	fleettest.Await(t, "it reads from NATS", func() bool { v, err := again.Load(t.Context(), unused); return err == nil && string(v) == unused })
}

// What a proxy had before it joined is shared, whole folder by whole folder, and what is there stays.
func TestProxyThatJoinsBringsItsCertificates(t *testing.T) {
	address := ownNATS(t)
	const seed = 7
	random := rand.New(rand.NewPCG(seed, seed))
	t.Logf("seed %d", seed)
	var had []testStorage
	for i := range 3 {
		local := t.TempDir()
		files := &certmagic.FileStorage{Path: local}
		for _, host := range []string{"shared.example", fmt.Sprintf("only-%d.example", i)} {
			for _, ext := range []string{".crt", ".key", ".json"} {
				if err := files.Store(t.Context(), "certificates/ca/"+host+"/"+host+ext, fmt.Append(nil, i)); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, key := range []string{"pki/authorities/local/root.key", "certificates/local/x/x.key", "acme/ca/challenge_tokens/x.json", "parachute/services/web/current.json"} {
			if err := files.Store(t.Context(), key, fmt.Append(nil, i)); err != nil {
				t.Fatal(err)
			}
		}
		had = append(had, openStorage(t, address, fmt.Sprintf("proxy-%d", i), t.TempDir(), local))
	}
	for _, i := range random.Perm(3) {
		if v, err := had[i].Load(t.Context(), fmt.Sprintf("certificates/ca/only-%d.example/only-%d.example.crt", i, i)); err != nil || string(v) != fmt.Sprint(i) {
			t.Errorf("before it has joined: %q, %v", v, err)
		}
	}
	for _, s := range had {
		fleettest.Await(t, "the proxy has joined", s.hasJoined)
	}
	for i, s := range had {
		files, err := s.files.files(t.Context(), "")
		if err != nil || len(files) != 12 {
			t.Errorf("NATS has %q, %v", files, err)
		}
		one, err := s.Load(t.Context(), "certificates/ca/shared.example/shared.example.key")
		other, otherErr := s.Load(t.Context(), "certificates/ca/shared.example/shared.example.crt")
		if err != nil || otherErr != nil || string(one) != string(other) {
			t.Errorf("a certificate of %s has the key of %s", other, one)
		}
		if v, err := s.Load(t.Context(), "pki/authorities/local/root.key"); err != nil || string(v) != fmt.Sprint(i) {
			t.Errorf("its own authority: %q, %v", v, err)
		}
	}
	// What was deleted since does not come back with the next start.
	if err := had[0].Delete(t.Context(), "certificates/ca/only-1.example"); err != nil {
		t.Fatal(err)
	}
	again := openStorage(t, address, "proxy-1", filepath.Dir(had[1].copies.Path), had[1].local.Path)
	again.locks.lease = time.Second
	if again.Exists(t.Context(), "ocsp") {
		t.Error("there are staples")
	}
	fleettest.Await(t, "the proxy has joined again", again.hasJoined)
	fleettest.Await(t, "the copy is removed", func() bool {
		return !again.copies.Exists(t.Context(), "certificates/ca/only-1.example/only-1.example.crt")
	})
	if again.Exists(t.Context(), "certificates/ca/only-1.example/only-1.example.crt") {
		t.Error("it has come back")
	}
}

// loseFiles has NATS lose the bucket of s.
func loseFiles(t *testing.T, s testStorage) {
	t.Helper()
	if err := s.files.do(t.Context(), func(b *bucket) error { return b.js.DeleteStream(t.Context(), b.stream()) }); err != nil {
		t.Fatal(err)
	}
}

// NATS that has lost everything gets from the proxies what they have copies of.
func TestNATSThatHasLostTheCertificatesGetsThemBack(t *testing.T) {
	address := ownNATS(t)
	dir := t.TempDir()
	s := openStorage(t, address, "proxy-1", dir, t.TempDir())
	const key = "certificates/ca/a.example/a.example.key"
	if err := s.Store(t.Context(), key, []byte("key")); err != nil {
		t.Fatal(err)
	}
	fleettest.Await(t, "the proxy has joined", s.hasJoined)
	loseFiles(t, s)
	again := openStorage(t, address, "proxy-1", dir, t.TempDir())
	if v, err := again.Load(t.Context(), key); err != nil || string(v) != "key" {
		t.Errorf("%q, %v", v, err)
	}
	other := newStorage(t, address, "proxy-2")
	fleettest.Await(t, "another proxy has it", func() bool { v, err := other.Load(t.Context(), key); return err == nil && string(v) == "key" })
}

// A bucket that another proxy has made in place of the one that NATS has lost says nothing of what is of no use any more:
// the copies may be all that is left.
func TestCopiesStayWhenNATSHasLostWhatTheyAreOf(t *testing.T) {
	address := ownNATS(t)
	s := newStorage(t, address, "proxy-1")
	s.cancel() // it does not join by itself
	const key = "certificates/ca/a.example/a.example.key"
	if err := s.Store(t.Context(), key, []byte("key")); err != nil {
		t.Fatal(err)
	}
	s.began = time.Now() // so that the copy is older
	if _, _, err := s.contribute(t.Context()); err != nil {
		t.Fatal(err)
	}
	loseFiles(t, s)
	other := newStorage(t, address, "proxy-2")
	if _, err := other.Load(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("before it is given back: %v", err)
	}
	for _, want := range []error{jetstream.ErrStreamNotFound, errAnotherBucket} { // first it has to notice
		if err := s.prune(t.Context()); !errors.Is(err, want) {
			t.Errorf("%v", err)
		}
	}
	if v, err := s.copies.Load(t.Context(), key); err != nil || string(v) != "key" {
		t.Errorf("the copy: %q, %v", v, err)
	}
}

// A proxy that runs when NATS loses its data gives it back then, not with its next start.
func TestNATSThatLosesTheCertificatesGetsThemFromARunningProxy(t *testing.T) {
	address := ownNATS(t)
	s := newStorage(t, address, "proxy-1")
	const key = "certificates/ca/a.example/a.example.key"
	if err := s.Store(t.Context(), key, []byte("key")); err != nil {
		t.Fatal(err)
	}
	fleettest.Await(t, "the proxy has joined", s.hasJoined)
	loseFiles(t, s)
	// The other one is the first to come, and makes the bucket anew.
	other := newStorage(t, address, "proxy-2")
	if _, err := other.Load(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("before it is given back: %v", err)
	}
	fleettest.Await(t, "another proxy has it", func() bool {
		if v, err := s.Load(t.Context(), key); err != nil || string(v) != "key" {
			t.Fatalf("the proxy that had it: %q, %v", v, err)
		}
		v, err := other.Load(t.Context(), key)
		return err == nil && string(v) == "key"
	})
}

// A certificate of which NATS has got a part when it stopped to answer gets the rest.
func TestFolderThatWasGivenInPartIsGivenWhole(t *testing.T) {
	s := newStorage(t, ownNATS(t), "proxy-1")
	s.cancel() // it does not join by itself
	const crt, key = "certificates/ca/a.example/a.example.crt", "certificates/ca/a.example/a.example.key"
	if err := s.local.Store(t.Context(), crt, []byte(crt)); err != nil {
		t.Fatal(err)
	}
	large := make([]byte, 2<<20) // more than NATS takes
	if err := s.local.Store(t.Context(), key, large); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.contribute(t.Context()); err == nil {
		t.Fatal("all was given")
	}
	if err := s.local.Store(t.Context(), key, []byte(key)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.contribute(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{crt, key} {
		if v, _, err := s.files.load(t.Context(), k); err != nil || string(v) != k {
			t.Errorf("%s: %q, %v", k, v, err)
		}
	}
}

// NATS that is given a file while it is asked for it may answer that it has none.
func TestCertificateThatIsBeingGivenToNATSIsNotMissing(t *testing.T) {
	s := newStorage(t, ownNATS(t), "proxy-1")
	const key = "certificates/ca/a.example/a.example.key"
	if err := s.local.Store(t.Context(), key, []byte("key")); err != nil {
		t.Fatal(err)
	}
	var value []byte
	err := s.read(t.Context(), func(ctx context.Context) error {
		_, _, err := s.files.load(ctx, key)
		s.heard(err)
		fleettest.Await(t, "the proxy has joined", s.hasJoined)
		return err
	}, func(from certmagic.Storage) (err error) {
		value, err = from.Load(t.Context(), key)
		return err
	})
	if err != nil || string(value) != "key" {
		t.Errorf("%q, %v", value, err)
	}
}

// The storage and the fleet of a proxy have one connection and one server, and locks outlive a reload.
func TestStorageAndFleetShareOneServer(t *testing.T) {
	cluster := newServers(t, 1)
	store := cluster.start(t)[0]
	config := &Storage{Connection: cluster.config.Connection, Name: "proxy-1", Dir: cluster.dirs[0], Local: t.TempDir()}
	config.Server = cluster.addrs[0]
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	if err := config.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	s, err := config.CertMagicStorage()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Store(t.Context(), "certificates/a", []byte("a")); err != nil {
		t.Fatal(err)
	}
	if config.storage.files.link != store.link {
		t.Error("the storage has a connection of its own")
	}
	if err := s.Lock(t.Context(), "l"); err != nil {
		t.Fatal(err)
	}
	if err := config.Cleanup(); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Look(t.Context()); err != nil {
		t.Errorf("the fleet has lost its connection: %v", err)
	}
	if err := s.(certmagic.LockLeaseRenewer).RenewLockLease(t.Context(), "l", time.Hour); err != nil {
		t.Errorf("an order that outlives a reload has lost its lock: %v", err)
	}
	config.storage.locks.close(t.Context()) // as when the process exits
	others := newLocks(&fileBucket{link: store.link}, "proxy-2", lockLease, zap.NewNop())
	defer others.close(context.WithoutCancel(t.Context()))
	if isHeld, err := others.acquire(t.Context(), "l", false); !isHeld || err != nil {
		t.Errorf("a process that has ended keeps its locks: %v, %v", isHeld, err)
	}
}

func TestCaddyfileSetsUpTheStorage(t *testing.T) {
	const text = "storage parachute_nats {\n url nats://a\n server a\n secret_file s\n name n\n dir d\n local l\n}"
	var s Storage
	if err := s.UnmarshalCaddyfile(caddyfile.NewTestDispenser(strings.TrimPrefix(text, "storage "))); err != nil {
		t.Fatal(err)
	}
	if s.URL != "nats://a" || s.Server != "a" || s.SecretFile != "s" || s.Name != "n" || s.Dir != "d" || s.Local != "l" {
		t.Errorf("%+v", s)
	}
	for want, text := range map[string]string{
		"unknown option": "parachute_nats {\n uri nats://a\n}", "given twice": "parachute_nats {\n name a\n name b\n}",
		"wrong argument count": "parachute_nats nats://a", "argument count": "parachute_nats {\n name\n}",
	} {
		if err := new(Storage).UnmarshalCaddyfile(caddyfile.NewTestDispenser(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
