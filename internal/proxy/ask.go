package proxy

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/forward"
)

const (
	// askTimeout bounds a question to somebody outside.
	askTimeout = 30 * time.Second
	// maxAnswer bounds the answer to it, in bytes.
	maxAnswer = 64 << 10
	// defaultAskPause is the pause before a release of a rollout, or its check, is asked again.
	defaultAskPause = 10 * time.Second
)

// answer is what somebody outside has answered.
type answer struct {
	status int
	// Allow is nil if the answer does not say.
	Allow  *bool  `json:"allow"`
	Reason string `json:"reason"`
}

// why returns the reason that is given, or the status.
func (a answer) why() string { return cmp.Or(a.Reason, fmt.Sprintf("its answer is %d", a.status)) }

// askURL asks somebody outside about something, which it sends as JSON. It follows no
// redirects. The error is why there is no answer, for people.
func (e *Engine) askURL(ctx context.Context, url string, about any) (answer, error) {
	body, err := json.Marshal(about)
	if err != nil {
		return answer{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Content-Type", api.MediaJSON)
	req.Header.Set("User-Agent", e.opts.UserAgent)
	tr := &http.Transport{DisableKeepAlives: true, DialContext: e.forwarder.Dialer().DialContext}
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(req)
	switch {
	case err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return answer{}, fmt.Errorf("no answer within %s", askTimeout)
	case err != nil:
		return answer{}, errors.New(forward.DialReason(err))
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return answer{}, errors.New("its answer broke off")
	}
	a := answer{status: resp.StatusCode}
	_ = json.Unmarshal(text, &a) // it need not be JSON
	return a, nil
}
