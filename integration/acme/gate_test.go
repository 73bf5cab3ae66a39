package acme

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// gate stands between the proxy and an authority. It sees every order, refuses those
// that it is told to refuse, and says when it is time to renew.
type gate struct {
	next http.Handler

	// mu guards what follows.
	mu sync.Mutex
	// ordered has the names of each order.
	ordered []string
	// refusal, if not nil, returns the problem that an order for a name has, or nil.
	refusal func(name string) *problem
	// challenge, if set, is the only type of challenge that is offered.
	challenge string
	// tokens has the token of each challenge, by the path of its URL. validating, if
	// not nil, is called with it before the authority validates it.
	tokens     map[string]string
	validating func(token string)
	// renewing, if not nil, is called before it is said whether it is time to renew.
	renewing func()
	// expired has the serial numbers of the certificates that are to be renewed.
	expired []string
}

// problem is an error document of an ACME server (RFC 8555, section 6.7).
type problem struct {
	Type   string `json:"type"`
	Detail string `json:"detail"`
	Status int    `json:"status"`
}

// Paths of Pebble.
const (
	newOrderPath    = "/order-plz"
	authzPath       = "/authZ/"
	challengePath   = "/chalZ/"
	finalizePath    = "/finalize-order/"
	orderPath       = "/my-order/"
	renewalInfoPath = "/draft-ietf-acme-ari-03/renewalInfo/"
)

func newGate(next http.Handler) *gate { return &gate{next: next, tokens: make(map[string]string)} }

// orders returns how often each name was ordered.
func (g *gate) orders() map[string]int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := make(map[string]int)
	for _, name := range g.ordered {
		n[name]++
	}
	return n
}

// ordersFor returns how often one name was ordered.
func (g *gate) ordersFor(name string) int { return g.orders()[name] }

// total returns how many names were ordered.
func (g *gate) total() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.ordered)
}

// refuse has orders refused from now on; nil ends that. While refusal is busy, the
// order waits.
func (g *gate) refuse(refusal func(name string) *problem) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refusal = refusal
}

// offer leaves only one type of challenge.
func (g *gate) offer(challenge string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.challenge = challenge
}

// beforeValidation has hook called with each token that is about to be validated.
func (g *gate) beforeValidation(hook func(token string)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.validating = hook
}

// beforeRenewalInfo has hook called before anybody is told whether it is time to renew.
func (g *gate) beforeRenewalInfo(hook func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.renewing = hook
}

// renew says that it is time to renew a certificate (RFC 9773).
func (g *gate) renew(leaf *x509.Certificate) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.expired = append(g.expired, serialOf(leaf))
}

// serialOf returns the serial number of a certificate as it is in the path of its
// renewal information: as DER has it, where a first bit that is set is a sign.
func serialOf(leaf *x509.Certificate) string {
	serial := leaf.SerialNumber.Bytes()
	if serial[0] >= 0x80 {
		serial = append([]byte{0}, serial...)
	}
	return base64.RawURLEncoding.EncodeToString(serial)
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == newOrderPath:
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		if p := g.order(names(body)); p != nil {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(p.Status)
			_ = json.NewEncoder(w).Encode(p)
			return
		}
	case strings.HasPrefix(r.URL.Path, authzPath):
		g.authorization(w, r)
		return
	case strings.HasPrefix(r.URL.Path, challengePath):
		g.mu.Lock()
		hook, token := g.validating, g.tokens[r.URL.Path]
		g.mu.Unlock()
		if hook != nil {
			hook(token)
		}
	case strings.HasPrefix(r.URL.Path, finalizePath):
		// Let's Encrypt names the order in this answer, and golang.org/x/crypto/acme relies on that.
		w.Header().Set("Location", "https://"+r.Host+orderPath+strings.TrimPrefix(r.URL.Path, finalizePath))
	case strings.HasPrefix(r.URL.Path, renewalInfoPath):
		g.renewalInfo(w, r)
		return
	}
	g.next.ServeHTTP(w, r)
}

// order counts an order and returns what is wrong with it, if anything.
func (g *gate) order(names []string) *problem {
	g.mu.Lock()
	g.ordered = append(g.ordered, names...)
	refusal := g.refusal
	g.mu.Unlock()
	for _, name := range names {
		if refusal == nil {
			break
		}
		if p := refusal(name); p != nil {
			return p
		}
	}
	return nil
}

// authorization passes an authorization on with the challenges that are offered.
func (g *gate) authorization(w http.ResponseWriter, r *http.Request) {
	recorded := httptest.NewRecorder()
	g.next.ServeHTTP(recorded, r)
	body := recorded.Body.Bytes()
	var authz map[string]any
	if json.Unmarshal(body, &authz) == nil && authz["challenges"] != nil {
		authz["challenges"] = g.offered(authz["challenges"].([]any))
		body, _ = json.Marshal(authz)
	}
	for key, values := range recorded.Header() {
		w.Header()[key] = values
	}
	w.Header().Del("Content-Length")
	w.WriteHeader(recorded.Code)
	_, _ = w.Write(body)
}

// offered returns the challenges that are offered, of those that there are.
func (g *gate) offered(challenges []any) []any {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []any
	for _, c := range challenges {
		challenge := c.(map[string]any)
		if u, err := url.Parse(fmt.Sprint(challenge["url"])); err == nil {
			g.tokens[u.Path] = fmt.Sprint(challenge["token"])
		}
		if g.challenge == "" || g.challenge == challenge["type"] {
			all = append(all, c)
		}
	}
	return all
}

// renewalInfo says that there is time, or that there is none. It wants to be asked
// again soon.
func (g *gate) renewalInfo(w http.ResponseWriter, r *http.Request) {
	_, serial, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, renewalInfoPath), ".")
	g.mu.Lock()
	expired, hook := slices.Contains(g.expired, serial), g.renewing
	g.mu.Unlock()
	if hook != nil {
		hook()
	}
	start := time.Now().Add(30 * 24 * time.Hour)
	if expired {
		start = time.Now().Add(-2 * time.Hour)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Retry-After", "1")
	fmt.Fprintf(w, `{"suggestedWindow": {"start": %q, "end": %q}}`, start.UTC().Format(time.RFC3339), start.Add(time.Hour).UTC().Format(time.RFC3339))
}

// names returns the names of an order, which is signed but not encrypted.
func names(order []byte) []string {
	var envelope struct{ Payload string }
	var request struct {
		Identifiers []struct{ Value string }
	}
	_ = json.Unmarshal(order, &envelope)
	payload, _ := base64.RawURLEncoding.DecodeString(envelope.Payload)
	_ = json.Unmarshal(payload, &request)
	var all []string
	for _, identifier := range request.Identifiers {
		all = append(all, identifier.Value)
	}
	return all
}
