package fleet

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A store that was not reached in time says why, and one that says nothing holds nobody up.
func TestCallThatWasNotAnsweredInTimeSaysWhy(t *testing.T) {
	refused := errors.New("the password was refused")
	for name, silence := range map[string]time.Duration{"it says why": 500 * time.Millisecond, "it hangs": time.Minute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				under, began := newCalls(), time.Now()
				defer under.settle(2 * silence)
				_, err := bounded(t.Context(), under, DefaultPatience, func(ctx context.Context) (struct{}, error) {
					<-ctx.Done()
					time.Sleep(silence)
					return struct{}{}, refused
				})
				took := time.Since(began)
				if hangs := silence > DefaultPatience; took > DefaultPatience || errors.Is(err, refused) == hangs {
					t.Errorf("got %v after %s", err, took)
				}
			})
		})
	}
}
