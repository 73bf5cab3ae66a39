package forward

import (
	"context"
	"testing"

	"github.com/parachute-proxy/parachute/internal/testkit"
)

// The connection belongs to the next request when an exchange is over, whoever still
// asks whether that has ended.
func TestConnectionIsNotWatchedAfterTheExchange(t *testing.T) {
	t.Parallel()
	c := testkit.NewWatchedConnection()
	x := &exchange{client: context.Background(), from: Sender{Connection: c}, slot: slot{release: new(Release)}}
	x.releaseClient()
	_ = x.Done()
	if len(c.Watched) > 0 {
		t.Error("the connection is watched")
	}
	x.endRequest()
}
