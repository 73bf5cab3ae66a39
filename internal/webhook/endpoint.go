package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
)

const (
	// requestTimeout bounds one request to an endpoint, its answer included.
	requestTimeout = 15 * time.Second
	// maxPending is how many messages to an endpoint may wait, those to be sent again
	// included. More are dropped.
	maxPending = 1000
	// maxAnswer is how much of an answer is read, in bytes, so that the connection can be
	// used again.
	maxAnswer = 64 << 10
	// maxRetryAfter is the longest that an endpoint can have a message put off.
	maxRetryAfter = time.Hour
)

// retries are the pauses before a message is sent again. Each is made up to a fifth longer
// or shorter by chance.
var retries = []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, time.Hour}

// Feed is where the events come from.
type Feed interface {
	// Next returns the events that have come, at least one, or an error when there will
	// be no more.
	Next(ctx context.Context) ([]api.FeedEvent, error)
}

// Endpoint is where messages are sent to.
type Endpoint struct {
	// URL is its address, and SecretFile has the secrets; see [ReadSecrets]. It is read for
	// every message, so that a new secret needs no restart.
	URL, SecretFile string
	// Source is what the proxy is called in messages, such as "/parachute/web-1".
	Source string
	// UserAgent is what requests say they are from.
	UserAgent string
	// Logger is told of messages that were not taken.
	Logger *zap.Logger

	// retries are those of the package; tests have less patience.
	retries []time.Duration
	client  *http.Client
	pending atomic.Int64
	dropped atomic.Int64
	// gone says that the endpoint wants no more messages.
	gone atomic.Bool
	// sending are the messages that are being sent again.
	sending sync.WaitGroup
}

// Run sends everything that comes from the feed, until that ends or ctx does. Messages that
// have not been taken by then are lost.
func (e *Endpoint) Run(ctx context.Context, feed Feed) {
	if e.retries == nil {
		e.retries = retries
	}
	e.client = &http.Client{
		Timeout: requestTimeout,
		// An address that has moved is for the operator to change, and no proxy from the
		// environment is to see what is sent.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{Proxy: nil, MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true},
	}
	defer e.client.CloseIdleConnections()
	ctx, cancel := context.WithCancel(ctx)
	queue := make(chan api.FeedEvent, maxPending)
	e.sending.Go(func() { e.send(ctx, queue) })
	for !e.gone.Load() {
		events, err := feed.Next(ctx)
		if err != nil {
			break
		}
		for _, ev := range events {
			if !ev.Data.Followed { // the process that decides tells of it
				e.enqueue(queue, ev)
			}
		}
	}
	cancel()
	e.sending.Wait()
}

// enqueue puts an event into the queue, or drops it if too many wait.
func (e *Endpoint) enqueue(queue chan<- api.FeedEvent, ev api.FeedEvent) {
	if ev.Data.Kind == api.EventGap {
		e.Logger.Warn("events were missed, and no webhook has told of them", zap.String("url", e.URL))
		return
	}
	if e.pending.Add(1) > maxPending {
		e.pending.Add(-1)
		if n := e.dropped.Add(1); n&(n-1) == 0 { // the first, the second, the fourth, ...
			e.Logger.Error("messages to a webhook are dropped: too many wait for it", zap.String("url", e.URL), zap.Int64("dropped", n))
		}
		return
	}
	queue <- ev // which has room for all that are pending
}

// send sends messages, one after the other. One that is not taken is put off, and those
// behind it go on.
func (e *Endpoint) send(ctx context.Context, queue <-chan api.FeedEvent) {
	for {
		select {
		case <-ctx.Done():
			return
		case ev := <-queue:
			body, err := encode(e.Source, ev)
			if err != nil {
				e.pending.Add(-1)
				continue
			}
			retryAfter, err := e.attempt(ctx, ev.ID, body)
			if err == nil {
				e.pending.Add(-1)
				continue
			}
			e.sending.Go(func() {
				defer e.pending.Add(-1)
				e.sendAgain(ctx, ev, body, retryAfter, err)
			})
		}
	}
}

// sendAgain sends a message that was not taken until it is, or too often.
func (e *Endpoint) sendAgain(ctx context.Context, ev api.FeedEvent, body []byte, retryAfter time.Duration, err error) {
	log := e.Logger.With(zap.String("url", e.URL), zap.String("event", string(ev.Data.Kind)), zap.String("id", ev.ID))
	for i, pause := range e.retries {
		if e.gone.Load() {
			return
		}
		pause = max(jitter(pause), retryAfter)
		log.Debug("a webhook has not taken a message; it is sent again", zap.Duration("after", pause), zap.Int("attempt", i+2), zap.Error(err))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		if retryAfter, err = e.attempt(ctx, ev.ID, body); err == nil {
			return
		}
	}
	if ctx.Err() == nil && !e.gone.Load() {
		log.Error("a webhook has not taken a message, which is given up", zap.Int("attempts", len(e.retries)+1), zap.Error(err))
	}
}

// jitter returns a duration that is up to a fifth longer or shorter.
func jitter(d time.Duration) time.Duration { return d*4/5 + rand.N(d*2/5+1) }

// attempt sends a message once. It returns how long the endpoint wants it put off, if it
// says so, and an error if the message was not taken.
func (e *Endpoint) attempt(ctx context.Context, id string, body []byte) (retryAfter time.Duration, err error) {
	if e.gone.Load() {
		return 0, errGone
	}
	secrets, err := ReadSecrets(e.SecretFile)
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.URL, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	now := time.Now()
	// Standard Webhooks has these names in lower case, which HTTP does not tell apart.
	req.Header.Set("Webhook-Id", id)
	req.Header.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	req.Header.Set("Webhook-Signature", sign(secrets, id, now, body))
	req.Header.Set("Content-Type", "application/cloudevents+json")
	req.Header.Set("User-Agent", e.UserAgent)
	resp, err := e.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer)
	switch {
	case resp.StatusCode >= 200 && resp.StatusCode <= 299:
		return 0, nil
	case resp.StatusCode == http.StatusGone:
		if !e.gone.Swap(true) {
			e.Logger.Warn("a webhook wants no more messages (410); it gets none until the next start", zap.String("url", e.URL))
		}
		return 0, errGone
	}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		retryAfter = min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	return retryAfter, fmt.Errorf("the answer is %s", resp.Status)
}

var errGone = errors.New("the endpoint wants no more messages")
