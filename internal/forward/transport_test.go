package forward

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// TestRetiredReleaseDialsNoMore even if a dial is under way.
func TestRetiredReleaseDialsNoMore(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 10)
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		asked <- struct{}{}
		<-ctx.Done() // a name server that does not answer
		return nil, ctx.Err()
	}}
	s, err := api.DeployRequest{Targets: []string{"app.test:80"}, HoldTimeout: testkit.Milliseconds(0)}.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	r := newTestForwarder(func(o *Options) { o.Resolver = resolver }).NewRelease(s)
	done := make(chan error, 1)
	go func() {
		req, _ := http.NewRequest(http.MethodGet, "http://app.test", nil)
		_, err := r.upstreams[0].transport.RoundTrip(req)
		done <- err
	}()
	testkit.Receive(t, asked, "the dial")
	r.Close()
	if err := testkit.Receive(t, done, "the end of the dial"); !isDialError(err) {
		t.Errorf("ended with %v, want a dial error", err)
	}
}

// TestDialErrorsAreFoundHoweverWrapped because they decide whether a request may
// be sent again.
func TestDialErrorsAreFoundHoweverWrapped(t *testing.T) {
	err := &dialError{err: errors.New("x")}
	if !isDialError(errors.Join(errors.New("y"), err)) || isDialError(errors.New("x")) || isDialError(nil) {
		t.Error("dial errors are not told from others")
	}
}
