package acme

import (
	"bufio"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
)

// certificate is what the commands say of one.
type certificate struct {
	Host     string     `json:"host"`
	Issuer   string     `json:"issuer"`
	NotAfter *time.Time `json:"not_after"`
	Error    string     `json:"error"`
}

// line is a line of deploy's JSON output: an event, or the deployment at the end.
type line struct {
	Event       string       `json:"event"`
	Host        string       `json:"host"`
	Certificate *certificate `json:"certificate"`
	State       string       `json:"state"`
	Release     int          `json:"release"`
	Serving     int          `json:"serving"`
	Error       *struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Hint    string `json:"hint"`
	} `json:"error"`
}

// deployment is how a deploy went.
type deployment struct {
	rig.Result
	lines []line
	took  time.Duration
}

// deploy runs `parachute deploy`.
func (s *server) deploy(t *testing.T, args ...string) deployment {
	t.Helper()
	d, err := s.tryDeploy(args...)
	must(t, err)
	return d
}

func (s *server) tryDeploy(args ...string) (deployment, error) {
	began := time.Now()
	result, err := s.Run(append([]string{"deploy", "--output", "json"}, args...)...)
	d := deployment{Result: result, took: time.Since(began)}
	for scanner := bufio.NewScanner(strings.NewReader(result.Stdout)); err == nil && scanner.Scan(); {
		var l line
		if err = json.Unmarshal(scanner.Bytes(), &l); err != nil {
			err = fmt.Errorf("%w: %s", err, scanner.Text())
		}
		d.lines = append(d.lines, l)
	}
	return d, err
}

// wantDone fails the test unless the deploy succeeded.
func (d deployment) wantDone(t *testing.T) deployment {
	t.Helper()
	if d.Code != 0 {
		t.Fatalf("the deploy ended with %d\n%s%s", d.Code, d.Stdout, d.Stderr)
	}
	return d
}

// wantFailed checks that there was no certificate and that the reason is told, with
// a hint.
func (d deployment) wantFailed(t *testing.T, reasons ...string) {
	t.Helper()
	last := d.lines[len(d.lines)-1]
	if d.Code != 12 || last.Error == nil || last.Error.Code != "certificate_failed" {
		t.Fatalf("the deploy ended with %d\n%s%s", d.Code, d.Stdout, d.Stderr)
	}
	for _, reason := range reasons {
		if !strings.Contains(last.Error.Message, reason) || !strings.Contains(d.Stderr, reason) {
			t.Errorf("%q is not in the error, which is: %s\nand on stderr: %s", reason, last.Error.Message, d.Stderr)
		}
	}
	if last.Error.Hint == "" {
		t.Errorf("no hint: %s", d.Stderr)
	}
}

// events returns the names of the events, in their order.
func (d deployment) events() []string {
	var all []string
	for _, l := range d.lines {
		if l.Event != "" {
			all = append(all, l.Event)
		}
	}
	return all
}

// certified returns the certificates that the events tell of, by host.
func (d deployment) certified() map[string]certificate {
	all := make(map[string]certificate)
	for _, l := range d.lines {
		if l.Event == "certified" && l.Certificate != nil {
			all[l.Host] = *l.Certificate
		}
	}
	return all
}

// before reports whether one event came before another. Both have to be there.
func (d deployment) before(one, other string) bool {
	i, j := slices.Index(d.events(), one), slices.Index(d.events(), other)
	return i >= 0 && j >= 0 && i < j
}

// service is what list and status say of a service.
type service struct {
	Name         string        `json:"name"`
	Hosts        []string      `json:"hosts"`
	TLS          bool          `json:"tls"`
	Broken       string        `json:"broken"`
	Certificates []certificate `json:"certificates"`
	Active       *struct {
		Release int `json:"release"`
	} `json:"active"`
}

// services returns what `parachute list` says.
func (s *server) services(t *testing.T) []service {
	t.Helper()
	result, err := s.Run("list", "--output", "json")
	must(t, err)
	var list struct{ Services []service }
	if err := json.Unmarshal([]byte(result.Stdout), &list); err != nil {
		t.Fatalf("list: %v\n%s%s", err, result.Stdout, result.Stderr)
	}
	return list.Services
}

// status returns what `parachute list` says of one service, which is nil if there is
// none.
func (s *server) status(t *testing.T, name string) *service {
	t.Helper()
	for _, x := range s.services(t) {
		if x.Name == name {
			return &x
		}
	}
	return nil
}

var hosts atomic.Int64

// newHost returns a host of the test's own.
func newHost() string { return fmt.Sprintf("site%d.%s", hosts.Add(1), domain) }
