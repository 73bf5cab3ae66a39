package proxy

import (
	"context"
	"fmt"
	"net/http"

	"github.com/parachute-proxy/parachute/internal/api"
)

// startCheck asks the check of a rollout whether its release is fine, unless it is being asked.
// The answer comes by r.checks: whoever takes long to answer does not keep the release from
// being judged.
func (e *Engine) startCheck(ctx context.Context, r *rollout, j judgement) {
	r.mu.Lock()
	asked := r.checking
	r.checking = true
	r.mu.Unlock()
	if asked {
		return
	}
	e.operations.Go(func() {
		c := e.check(ctx, r)
		c.judgement = j
		r.mu.Lock()
		r.checking = false
		r.mu.Unlock()
		select {
		case r.checks <- c:
		case <-ctx.Done():
		}
	})
}

// check asks the check of a rollout whether its release is fine.
func (e *Engine) check(ctx context.Context, r *rollout) checked {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	url := r.spec.CheckURL
	answer, err := e.askURL(ctx, url, r.status(false))
	switch {
	case err != nil:
		return checked{opinion: noOpinion, reason: fmt.Sprintf("%s cannot be asked: %s", api.Printable(url), api.Printable(err.Error()))}
	case answer.status >= http.StatusInternalServerError:
		return checked{opinion: badOpinion, reason: fmt.Sprintf("%s says that v%d is bad: %s", api.Printable(url), r.next.Version, api.Printable(answer.why()))}
	case answer.status >= 200 && answer.status <= 299:
		return checked{opinion: goodOpinion}
	}
	return checked{opinion: noOpinion, reason: fmt.Sprintf("%s does not know whether v%d is fine: %s", api.Printable(url), r.next.Version, api.Printable(answer.why()))}
}
