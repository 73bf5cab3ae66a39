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
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Stream makes a request whose answer is a line for each event of a deployment. For as
// long as there is none, it makes sure now and then that the proxy is still there.
func (c *Client) Stream(ctx context.Context, path string, body any, yield func(api.Event) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil) // ends the reader
	late := time.AfterFunc(c.answerTimeout, func() { cancel(silentError{c.answerTimeout}) })
	resp, err := c.do(ctx, http.MethodPost, path, body, nil, api.MediaNDJSON)
	late.Stop()
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	events, ended := readEvents(ctx, resp.Body)
	quiet := time.NewTimer(c.quietTimeout)
	defer quiet.Stop()
	for id, over := "", false; ; {
		select {
		case ev := <-events:
			if err := yield(ev); err != nil {
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

// readEvents reads a line of JSON for each event, until ctx ends. The second channel has
// the error that ends the events.
func readEvents(ctx context.Context, from io.Reader) (<-chan api.Event, <-chan error) {
	events, ended := make(chan api.Event), make(chan error, 1)
	go func() {
		lines := bufio.NewScanner(from)
		lines.Buffer(nil, maxEvent)
		for lines.Scan() {
			if len(bytes.TrimSpace(lines.Bytes())) == 0 {
				continue
			}
			var ev api.Event
			if err := json.Unmarshal(lines.Bytes(), &ev); err != nil {
				ended <- err
				return
			}
			if !whole(ev) {
				ended <- fmt.Errorf("an event %.64q lacks what it is about", ev.Kind)
				return
			}
			makePrintable(&ev)
			select {
			case events <- ev:
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
	return events, ended
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
	}
	return true
}
