package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Stream makes a request whose answer is a line for each event of a deployment. For as
// long as there is none, it makes sure now and then that the proxy is still there.
func (c *Client) Stream(ctx context.Context, path string, body any, yield func(api.Event) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil) // ends the reader
	resp, err := c.open(ctx, cancel, http.MethodPost, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	events, ended := readLines(ctx, resp.Body, func(ev *api.Event) error { return checkEvent(*ev) })
	quiet := time.NewTimer(c.quietTimeout)
	defer quiet.Stop()
	for id, over := "", false; ; {
		select {
		case ev := <-events:
			if ev == nil {
				break
			}
			if err := yield(*ev); err != nil {
				return err
			}
			if ev.Kind == api.EventEnded {
				return nil
			}
			id, over = ev.Deployment, false
		case err := <-ended:
			return c.lost(ctx, err)
		case <-quiet.C:
			if over, err = c.confirm(ctx, id, over); err != nil {
				return err
			}
		}
		quiet.Reset(c.quietTimeout)
	}
}

// confirm asks a proxy whose stream has been quiet for the deployment, and returns an
// error if there is no answer, or if the deployment is over but the stream has not told of
// that. over is what was returned last.
func (c *Client) confirm(ctx context.Context, id string, over bool) (bool, error) {
	if id == "" || over {
		return over, c.silent(c.quietTimeout)
	}
	var status api.DeploymentStatus
	err := c.Call(ctx, http.MethodGet, api.DeploymentPath(id), nil, &status)
	if code := api.ErrorCode(err); code == CodeUnreachable || code == CodeInterrupted {
		return false, err
	}
	return status.State.Final(), nil
}

// Feed calls yield with everything that happens to services, from now on or after the event
// with an id, until ctx ends or yield returns an error.
func (c *Client) Feed(ctx context.Context, after string, yield func(api.FeedEvent) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil) // ends the reader
	resp, err := c.open(ctx, cancel, http.MethodGet, api.PathEvents+"?after="+url.QueryEscape(after), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	events, ended := readLines(ctx, resp.Body, func(ev *api.FeedEvent) error { return checkEvent(ev.Data) })
	for {
		select {
		case ev := <-events: // or nothing, which says that the proxy is there
			if ev == nil {
				continue
			}
			if err := yield(*ev); err != nil {
				return err
			}
		case err := <-ended:
			return c.lost(ctx, err)
		case <-time.After(2 * c.quietTimeout): // twice as long as the proxy is ever silent
			return c.silent(2 * c.quietTimeout)
		}
	}
}

// open makes a request whose answer is lines of JSON, and has cancel end ctx if that does not
// begin in time. A nil body sends none.
func (c *Client) open(ctx context.Context, cancel context.CancelCauseFunc, method, path string, body any) (*http.Response, error) {
	late := time.AfterFunc(c.answerTimeout, func() { cancel(silentError{c.answerTimeout}) })
	defer late.Stop()
	return c.do(ctx, method, path, body, nil, api.MediaNDJSON)
}

// readLines reads a line of JSON for each value, until ctx ends. An empty line, which says
// nothing but that somebody is there, is nil. The second channel has the error that ends
// the values.
func readLines[T any](ctx context.Context, from io.Reader, check func(*T) error) (<-chan *T, <-chan error) {
	values, ended := make(chan *T), make(chan error, 1)
	go func() {
		lines := bufio.NewScanner(from)
		lines.Buffer(nil, maxEvent)
		for lines.Scan() {
			var value *T
			if len(bytes.TrimSpace(lines.Bytes())) > 0 {
				value = new(T)
				err := json.Unmarshal(lines.Bytes(), value)
				if err == nil {
					err = check(value)
				}
				if err != nil {
					ended <- err
					return
				}
				makePrintable(value)
			}
			select {
			case values <- value:
			case <-ctx.Done():
				ended <- ctx.Err()
				return
			}
		}
		err := lines.Err()
		if err == nil {
			err = errors.New("the connection was closed")
		}
		ended <- err
	}()
	return values, ended
}

// checkEvent returns an error if an event lacks what its kind promises.
func checkEvent(ev api.Event) error {
	if !whole(ev) {
		return fmt.Errorf("an event %.64q lacks what it is about", ev.Kind)
	}
	return nil
}

// whole reports whether an event has what its kind promises, so that who is told of it need
// not ask.
func whole(ev api.Event) bool {
	switch ev.Kind {
	case api.EventHealthy:
		return ev.Probe != nil
	case api.EventCertified:
		return ev.Certificate != nil && ev.Certificate.NotAfter != nil
	case api.EventDrained:
		return ev.Drain != nil
	case api.EventEnded:
		return ev.Result != nil
	case api.EventHeld:
		return ev.Hold != nil
	}
	return true
}
