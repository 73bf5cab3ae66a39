package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"golang.org/x/crypto/bcrypt"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/proxy"
)

func init() { caddy.RegisterModule(BasicAuth{}) }

// TestWhoGuessesPasswordsDelaysNobodyElse for longer than a check, whatever the number of guesses.
func TestWhoGuessesPasswordsDelaysNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newPasswordChecks(1, 10*time.Second)
		var running, most atomic.Int64
		slow := func(_, password []byte) (bool, error) {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			time.Sleep(time.Second)
			return string(password) == "right", nil
		}
		var late atomic.Int64
		for i := range 20 {
			go func() {
				if _, done, _ := c.check(t.Context(), "stranger", "ada", []byte("hash"), fmt.Append(nil, i), slow); !done {
					late.Add(1)
				}
			}()
		}
		synctest.Wait()
		began := time.Now()
		same, done, err := c.check(t.Context(), "user", "ada", []byte("hash"), []byte("right"), slow)
		if took := time.Since(began); !same || !done || err != nil || took > 2*time.Second {
			t.Errorf("the user has waited %v: %t, %t (%v)", took, same, done, err)
		}
		began = time.Now()
		if same, done, _ := c.check(t.Context(), "another", "ada", []byte("hash"), []byte("right"), nil); !same || !done || time.Since(began) > 0 {
			t.Error("a password that was right is computed again")
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		if _, done, _ := c.check(gone, "gone", "ada", []byte("hash"), []byte("x"), slow); done {
			t.Error("a password is checked whose client has left")
		}
		time.Sleep(20 * time.Second)
		synctest.Wait() // the last of the guesses have ended, and the race detector knows it
		if late := late.Load(); late < 5 || most.Load() != 1 {
			t.Errorf("%d of 20 guesses were refused, and %d checks ran at once", late, most.Load())
		}
		if len(c.clients) != 0 || c.waiting != 0 {
			t.Errorf("%d clients and %d passwords are left", len(c.clients), c.waiting)
		}
	})
}

// TestPasswordsThatWaitAreBounded: those of a client, and those of all. Few clients cannot take all
// the room.
func TestPasswordsThatWaitAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newPasswordChecks(1, time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		guess := func(client string) {
			go func() {
				if end, ok := c.begin(ctx, client); ok {
					<-ctx.Done()
					end()
				}
			}()
		}
		for range maxPasswordsOfAClient {
			guess("one")
		}
		synctest.Wait()
		if _, ok := c.begin(ctx, "one"); ok || c.waiting != maxPasswordsOfAClient {
			t.Errorf("%d passwords of a client wait", c.waiting)
		}
		for i := range maxPasswordsWaiting {
			guess(fmt.Sprint("few ", i%(maxPasswordsWaiting/maxPasswordsOfAClient+1)))
		}
		synctest.Wait()
		if c.waiting != maxPasswordsWaiting {
			t.Errorf("%d passwords of few clients wait", c.waiting)
		}
		guess("another")
		synctest.Wait()
		if c.waiting != maxPasswordsWaiting+1 {
			t.Error("few clients have taken all the room")
		}
		for i := range 2 * maxPasswordsWaiting {
			guess(fmt.Sprint(i))
		}
		synctest.Wait()
		if len(c.clients) != maxPasswordsWaiting {
			t.Errorf("passwords of %d clients wait", len(c.clients))
		}
		cancel()
		synctest.Wait()
	})
}

// TestTimesDoNotTellWhichAccountsExist: a guess for a name without an account is checked against the
// hash of another one, and is known for that name alone.
func TestTimesDoNotTellWhichAccountsExist(t *testing.T) {
	c := newPasswordChecks(1, time.Minute)
	checked := 0
	is := func(_, _ []byte) (bool, error) { checked++; return false, nil }
	for _, name := range []string{"nobody", "ada", "mallory", "ada"} {
		_, _, _ = c.check(t.Context(), "", name, []byte("ada's hash"), []byte("guess"), is)
	}
	if checked != 3 {
		t.Errorf("one guess for three names was checked %d times", checked)
	}
}

// TestGuessesDoNotMakeRightPasswordsForgotten, and guesses themselves are bounded.
func TestGuessesDoNotMakeRightPasswordsForgotten(t *testing.T) {
	c := newPasswordChecks(1, time.Minute)
	is := func(_, password []byte) (bool, error) { return string(password) == "right", nil }
	for i := range 3 * maxWrongPasswords {
		if i == 7 {
			_, _, _ = c.check(t.Context(), "", "ada", []byte("hash"), []byte("right"), is)
		}
		_, _, _ = c.check(t.Context(), "", "ada", []byte("hash"), fmt.Append(nil, i), is)
	}
	if len(c.wrong) != maxWrongPasswords || len(c.right) != 1 {
		t.Errorf("%d wrong and %d right passwords are known", len(c.wrong), len(c.right))
	}
	if same, _, _ := c.check(t.Context(), "", "ada", []byte("other hash"), []byte("right"), func(_, _ []byte) (bool, error) { return false, nil }); same {
		t.Error("a password that was right for another hash is taken")
	}
	if _, _, err := c.check(t.Context(), "", "ada", []byte("broken"), []byte("x"), func(_, _ []byte) (bool, error) { return false, errors.New("broken") }); err == nil {
		t.Error("the error of a hash is lost")
	}
}

// TestPasswordsOfUnknownNamesCostWhatOthersDo, and not what Caddy's own fake hash does, which has
// a cost of 14.
func TestPasswordsOfUnknownNamesCostWhatOthersDo(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("hiccup"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	h := newHost(t, Safe)
	adapted, err := h.Adapt("web", &api.Options{BasicAuth: []string{"bob:" + string(hash)}})
	if err != nil || strings.Contains(string(adapted), basicAuth) {
		t.Fatalf("%s (%v)", adapted, err)
	}
	c, err := h.Compile("web", adapted)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	began := time.Now()
	for _, name := range []string{"bob", "eve"} {
		for _, password := range []string{"hiccup", "guess"} {
			r := httptest.NewRequest("GET", "/", nil)
			r.SetBasicAuth(name, password)
			w, err := pass(c, r, func(w http.ResponseWriter, r *http.Request) error { return nil })
			if right := name == "bob" && password == "hiccup"; right != (err == nil) || right != (w.Header().Get("Www-Authenticate") == "") {
				t.Errorf("%s:%s: %v, %v", name, password, err, w.Header())
			}
		}
	}
	if took := time.Since(began); took > 500*time.Millisecond {
		t.Errorf("four checks of the least cost took %v", took)
	}
}

// TestPasswordsThatAreNotCheckedAreNoWrongOnes: the client may come again, and need not ask its
// user.
func TestPasswordsThatAreNotCheckedAreNoWrongOnes(t *testing.T) {
	h := newHost(t, Safe)
	for with, want := range map[string]string{"": "", "handle_errors 503 {\n\trespond \"busy\"\n}": "busy"} {
		adapted, err := h.Adapt("web", &api.Options{BasicAuth: []string{"bob:" + hashOfHiccup}, With: with})
		if err != nil {
			t.Fatal(err)
		}
		c, err := h.Compile("web", json.RawMessage(adapted))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ctx, leave := context.WithCancel(t.Context())
		leave() // so that its turn does not come
		r := httptest.NewRequestWithContext(ctx, "GET", "/", nil)
		r.SetBasicAuth("bob", "guess "+with)
		w, err := pass(c, r, func(http.ResponseWriter, *http.Request) error { return nil })
		if w.Header().Get("Www-Authenticate") != "" || w.Body.String() != want {
			t.Errorf("%q: %v, %q", with, w.Header(), w.Body)
		}
		if want != "" {
			continue
		}
		if held, ok := errors.AsType[*proxy.HeldError](err); !ok || held.RetryAfter <= 0 || proxy.StatusOf(err) != 503 {
			t.Errorf("the error is %v", err)
		}
	}
}

// TestClientsOfANetworkAreOne over IPv6, where one client has many addresses.
func TestClientsOfANetworkAreOne(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8:1:2:3::4": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64", "": "",
	} {
		if got := passwordClient(address); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}
