package proxy

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"net/http"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// people are the values of so many cookies.
func people(t *testing.T, n int) [][]byte {
	rnd := testkit.NewRand(t)
	all := make([][]byte, n)
	for i := range all {
		all[i] = []byte(hex.EncodeToString(binary.BigEndian.AppendUint64(nil, rnd.Uint64())))
	}
	return all
}

func TestShareOfACanaryIsWhatItSays(t *testing.T) {
	all := people(t, 20_000)
	rnd := testkit.NewRand(t)
	salt := rnd.Uint64()
	before := make(map[int]bool)
	for _, weight := range []api.Percent{0, 100, 1000, 2500, 9900, api.Whole} {
		c := &candidate{weight: weight, salt: salt}
		got := make(map[int]bool)
		for i, id := range all {
			got[i] = c.inShare(id)
			if before[i] && !got[i] {
				t.Fatalf("%s has moved back at %s", id, weight)
			}
		}
		n := 0
		for _, in := range got {
			if in {
				n++
			}
		}
		if share := float64(n) / float64(len(all)); math.Abs(share-weight.Fraction()) > 0.0095 { // 3 standard deviations at a quarter
			t.Errorf("%s is %.2f%%", weight, 100*share)
		} else if weight == 1000 && math.Abs(share-0.1) > 0.007 {
			t.Errorf("10%% is %.2f%%", 100*share)
		}
		before = got
	}
}

func TestEveryRolloutBeginsWithOtherClients(t *testing.T) {
	both := 0
	a, b := &candidate{weight: 1000, salt: 1}, &candidate{weight: 1000, salt: 2}
	for _, id := range people(t, 20_000) {
		if a.inShare(id) && b.inShare(id) {
			both++
		}
	}
	if both > 300 { // 200 are expected
		t.Errorf("%d are among the first both times", both)
	}
}

func TestClientIsKnownByWhatTheDeploySays(t *testing.T) {
	request := func(name, value, addr string) *visitor {
		in, err := http.NewRequest(http.MethodPost, "http://app.test/", nil)
		if err != nil {
			t.Fatal(err)
		}
		in.RemoteAddr = addr
		if name != "" {
			in.Header.Set(name, value)
		}
		return &visitor{in: in}
	}
	for by, same := range map[string]func() *visitor{
		"cookie":        func() *visitor { return request("Cookie", "parachute_bucket=1234567890abcdef", "192.0.2.1:1") },
		"ip":            func() *visitor { return request("", "", "192.0.2.1:1") },
		"header:x-team": func() *visitor { return request("X-Team", "blue", "192.0.2.1:1") },
	} {
		c := &candidate{weight: 5000, by: by, cookie: "parachute_bucket"}
		if by == "header:x-team" {
			c.header = "X-Team"
		}
		others := 0
		for salt := range uint64(200) {
			c.salt = salt
			first := c.gets(same())
			for range 5 {
				if c.gets(same()) != first {
					t.Fatalf("by %s, a client has moved", by)
				}
			}
			if first {
				others++
			}
		}
		if others < 60 || others > 140 {
			t.Errorf("by %s, a client is among the first half in %d of 200 rollouts", by, others)
		}
	}
	// Who is known by nothing is spread request by request, and is with one release for the
	// whole request.
	c := &candidate{weight: 5000, by: "header:x-team", header: "X-Team"}
	got := 0
	for range 400 {
		v := request("", "", "192.0.2.1:1")
		first := c.gets(v)
		if c.gets(v) != first {
			t.Fatal("a request has moved")
		}
		if first {
			got++
		}
	}
	if got < 130 || got > 270 {
		t.Errorf("%d of 400 requests", got)
	}
}

// TestCookieOfTheApplicationSaysWhoGetsTheCanary as kamal-proxy has it: by the FNV-1a hash of its
// value, of which 0xbf9cf968 is that of "foobar", which is 74.85 % of the largest.
func TestCookieOfTheApplicationSaysWhoGetsTheCanary(t *testing.T) {
	for _, c := range []struct {
		cookie string
		weight api.Percent
		values []string
		gets   bool
	}{
		{"team=foobar", 7486, nil, true},
		{"team=foobar", 7484, nil, false},
		{"team=foobar", 0, nil, false},
		{"team=foobar", 0, []string{"x", "foobar"}, true},
		{"team=foobar", api.Whole, nil, true},
		{"team=", api.Whole, []string{""}, false},
		{"other=foobar", api.Whole, nil, false},
		{"", api.Whole, []string{"foobar"}, false},
		{"a=b; team=foobar; c=d", 7486, nil, true},
	} {
		in, err := http.NewRequest(http.MethodGet, "http://app.test/", nil)
		if err != nil {
			t.Fatal(err)
		}
		in.Header.Set("Cookie", c.cookie)
		in.Header.Set("Accept", "text/html") // which would have the proxy set a cookie of its own
		v := &visitor{in: in}
		if got := (&candidate{weight: c.weight, cookie: "team", named: true}).of(c.values, false).gets(v); got != c.gets {
			t.Errorf("%+v: %v", c, got)
		}
		if len(v.cookies) > 0 {
			t.Errorf("%+v: the proxy sets %v", c, v.cookies)
		}
	}
}

func TestNobodyGetsACanaryThatIsOff(t *testing.T) {
	for _, by := range []string{"cookie", "cookie:team", "ip", "header:X-Team"} {
		in, err := http.NewRequest(http.MethodGet, "http://app.test/", nil)
		if err != nil {
			t.Fatal(err)
		}
		in.RemoteAddr = "192.0.2.1:1"
		in.Header = http.Header{"Cookie": {"team=a; parachute_bucket=1"}, "X-Team": {"a"}}
		c := &candidate{weight: api.Whole, by: by, cookie: "parachute_bucket"}
		switch by {
		case "cookie:team":
			c.cookie, c.named = "team", true
		case "header:X-Team":
			c.header = "X-Team"
		}
		if !c.of([]string{"a"}, false).gets(&visitor{in: in}) {
			t.Errorf("by %s, nobody gets it", by)
		}
		if c.of([]string{"a"}, true).gets(&visitor{in: in}) {
			t.Errorf("by %s, somebody gets it that is off", by)
		}
	}
}
