package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Client calls the JSON API of a running proxy.
type Client struct {
	address Address
	http    *http.Client
	// answerTimeout and quietTimeout are the constants of these names; tests have less
	// time.
	answerTimeout time.Duration
	quietTimeout  time.Duration
}

// AnswerTimeout bounds how long the proxy may take for an answer, and to begin a stream of
// events, but for calls that it answers when something is over.
const AnswerTimeout = 10 * time.Second

// quietTimeout is how long a stream of events may say nothing before the client asks
// whether the proxy is still there: a certificate or a drain can take long.
const quietTimeout = 15 * time.Second

// Bounds of answers, in bytes: of one that tells of a failure, of any other, and of an
// event. Ten thousand services are about ten megabytes.
const (
	maxError  = 1 << 20
	maxAnswer = 1 << 28
	maxEvent  = 1 << 24
)

// New finds the proxy whose admin endpoint is given, or else the one that runs in
// the default place. Nothing else has been asked of it yet.
func New(given string) (*Client, error) {
	all, err := endpoints(given)
	if err != nil {
		return nil, err
	}
	e, err := find(all)
	if err != nil {
		return nil, err
	}
	return newClient(e), nil
}

func newClient(e endpoint) *Client {
	return &Client{
		address: e.Address,
		http: &http.Client{
			Transport: &http.Transport{
				DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return e.dial(ctx) },
				// A client makes a call or two. None of its connections stays open behind them.
				DisableKeepAlives: true,
			},
			// The API sends nobody elsewhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		answerTimeout: AnswerTimeout,
		quietTimeout:  quietTimeout,
	}
}

// Address returns where the proxy is asked.
func (c *Client) Address() Address { return c.address }

// Call makes a request that the proxy answers at once and decodes the answer into out,
// a pointer. A nil body sends none.
//
// An operation that failed after it had begun has an outcome beside its error, such as
// what a removal had to cut. That goes into out, too.
func (c *Client) Call(ctx context.Context, method, path string, body, out any) error {
	return c.call(ctx, c.answerTimeout, method, path, body, out)
}

// CallUntilDone is [Client.Call] for a request that is answered when something is over.
// It waits for as long as ctx allows.
func (c *Client) CallUntilDone(ctx context.Context, method, path string, body, out any) error {
	return c.call(ctx, 0, method, path, body, out)
}

func (c *Client) call(ctx context.Context, timeout time.Duration, method, path string, body, out any) error {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, silentError{timeout})
		defer cancel()
	}
	resp, err := c.do(ctx, method, path, body, out, api.MediaJSON)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return c.lost(ctx, err)
	}
	makePrintable(out)
	return nil
}

// silentError is why a context has ended in which the proxy should have answered.
type silentError struct{ timeout time.Duration }

func (e silentError) Error() string { return fmt.Sprintf("no answer within %s", e.timeout) }

// Services returns all services, by name.
func (c *Client) Services(ctx context.Context) ([]api.ServiceStatus, error) {
	var list api.ServiceList
	err := c.Call(ctx, http.MethodGet, api.PathServices, nil, &list)
	return list.Services, err
}

// do makes a request. An answer that is not a success becomes the [api.Error]
// that it carries; the outcome in it, if there is one, goes into outcome.
func (c *Client) do(ctx context.Context, method, path string, body, outcome any, accept string) (*http.Response, error) {
	var encoded []byte
	if body != nil {
		var err error
		if encoded, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, c.baseURL()+path, bytes.NewReader(encoded))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("Content-Type", api.MediaJSON)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.lost(ctx, err)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxError))
	var failed struct {
		api.Failure
		Outcome json.RawMessage `json:"outcome"`
	}
	if json.Unmarshal(answer, &failed) == nil && failed.Error != nil && failed.Error.Code != "" {
		makePrintable(failed.Error)
		if failed.Outcome != nil && outcome != nil {
			_ = json.Unmarshal(failed.Outcome, outcome) // the error is what counts
		}
		return nil, failed.Error
	}
	if resp.StatusCode == http.StatusNotFound {
		return nil, &api.Error{
			Code:    CodeUnreachable,
			Message: fmt.Sprintf("the program at %s has no parachute API", c.address),
			Hint:    "set --admin or PARACHUTE_ADMIN to the admin endpoint of the proxy, or build that Caddy with parachute",
		}
	}
	return nil, &api.Error{
		Code:    api.CodeInternal,
		Message: fmt.Sprintf("%s refused the call with %s: %s", c.address, api.Printable(resp.Status), api.Printable(strings.TrimSpace(string(answer)))),
	}
}

// lost explains a call that got no whole answer.
func (c *Client) lost(ctx context.Context, err error) error {
	silent, isSilent := errors.AsType[silentError](context.Cause(ctx))
	switch {
	case isSilent:
		return c.silent(silent.timeout)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &api.Error{Code: CodeUnreachable, Message: fmt.Sprintf("the proxy at %s has not answered in time", c.address), Hint: silentHint}
	case ctx.Err() != nil:
		return &api.Error{Code: CodeInterrupted, Message: "interrupted"}
	}
	if _, ok := errors.AsType[*json.SyntaxError](err); ok {
		return &api.Error{
			Code:    CodeUnreachable,
			Message: fmt.Sprintf("the program at %s is not parachute", c.address),
			Hint:    "set --admin or PARACHUTE_ADMIN to the proxy's admin endpoint, not to a port that it serves on",
		}
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("the connection was closed")
	}
	if inner, ok := errors.AsType[*url.Error](err); ok {
		err = inner.Err
	}
	return &api.Error{
		Code:    CodeUnreachable,
		Message: fmt.Sprintf("lost the connection to the proxy at %s: %s", c.address, api.Printable(err.Error())),
		Hint:    "check that it is running, then see what serves with: parachute status",
	}
}

const silentHint = "it may be stopped or overloaded, or it may be another program; see its log"

// silent is the error of a proxy that accepts connections and says nothing.
func (c *Client) silent(after time.Duration) error {
	return &api.Error{
		Code:    CodeUnreachable,
		Message: fmt.Sprintf("the proxy at %s accepts connections, but has said nothing for %s", c.address, after),
		Hint:    silentHint,
	}
}

// baseURL has the host that Caddy's admin endpoint checks against DNS rebinding.
func (c *Client) baseURL() string {
	if c.address.Network == "unix" {
		return "http://localhost"
	}
	return "http://" + c.address.Address
}

// Codes that exist on the client's side alone.
const (
	// CodeUnreachable marks a call that no proxy has answered, or not to its end.
	CodeUnreachable api.Code = "unreachable"
	// CodeInterrupted marks a call whose context has ended.
	CodeInterrupted api.Code = "interrupted"
)
