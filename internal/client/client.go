package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
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
}

// maxError bounds the body of an answer that tells of a failure, in bytes.
const maxError = 1 << 20

// ConnectTimeout bounds how long a command waits for the proxy to accept it.
const ConnectTimeout = 5 * time.Second

// New finds the proxy whose admin endpoint is given, or else the one that runs in
// the default place. Nothing else has been asked of it yet.
func New(given string) (*Client, error) {
	all, err := candidates(given)
	if err != nil {
		return nil, err
	}
	var tried []string
	for _, a := range all {
		conn, err := net.DialTimeout(a.Network, a.Address, ConnectTimeout)
		if err == nil {
			conn.Close()
			return &Client{address: a, http: &http.Client{Transport: adminTransport(a)}}, nil
		}
		if errors.Is(err, fs.ErrPermission) {
			return nil, &api.Error{
				Code:    CodeUnreachable,
				Message: fmt.Sprintf("the admin endpoint %s does not let this user in: permission denied", a),
				Hint:    "run the command as the user that runs the proxy, for example with sudo",
			}
		}
		tried = append(tried, a.String())
	}
	return nil, &api.Error{
		Code:    CodeUnreachable,
		Message: fmt.Sprintf("no proxy answers at %s", strings.Join(tried, ", ")),
		Hint:    "start one with: parachute run; if it runs elsewhere, point --admin or PARACHUTE_ADMIN at it",
	}
}

func adminTransport(a Address) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, a.Network, a.Address)
		},
		// A client makes a call or two. None of its connections stays open behind them.
		DisableKeepAlives: true,
	}
}

// Call makes a request and decodes the answer into out. A nil body sends none.
func (c *Client) Call(ctx context.Context, method, path string, body, out any) error {
	resp, err := c.do(ctx, method, path, body, api.MediaJSON)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return c.lost(ctx, err)
	}
	return nil
}

// Stream makes a request whose answer is a line for each event.
func (c *Client) Stream(ctx context.Context, path string, body any, yield func(api.Event) error) error {
	resp, err := c.do(ctx, http.MethodPost, path, body, api.MediaNDJSON)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return c.lost(ctx, err)
		}
		var ev api.Event
		if err := json.Unmarshal(line, &ev); err != nil {
			return c.lost(ctx, err)
		}
		if err := yield(ev); err != nil {
			return err
		}
		if ev.Kind == api.EventEnded {
			return nil
		}
	}
}

// Services returns all services, by name.
func (c *Client) Services(ctx context.Context) ([]api.ServiceStatus, error) {
	var list api.ServiceList
	err := c.Call(ctx, http.MethodGet, api.PathServices, nil, &list)
	return list.Services, err
}

// do makes a request. An answer that is not a success becomes the [api.Error]
// that it carries.
func (c *Client) do(ctx context.Context, method, path string, body any, accept string) (*http.Response, error) {
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
	var failed api.Failure
	if json.Unmarshal(answer, &failed) == nil && failed.Error != nil && failed.Error.Code != "" {
		return nil, failed.Error
	}
	if resp.StatusCode == http.StatusNotFound {
		return nil, &api.Error{
			Code:    CodeUnreachable,
			Message: fmt.Sprintf("what answers at %s has no parachute in it", c.address),
			Hint:    "point --admin or PARACHUTE_ADMIN at the proxy, or build that Caddy with parachute",
		}
	}
	return nil, &api.Error{
		Code:    api.CodeInternal,
		Message: fmt.Sprintf("%s refused the call with %s: %s", c.address, resp.Status, api.Printable(strings.TrimSpace(string(answer)))),
	}
}

// lost explains a call that got no whole answer.
func (c *Client) lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return &api.Error{Code: CodeInterrupted, Message: "interrupted"}
	}
	if _, ok := errors.AsType[*json.SyntaxError](err); ok {
		return &api.Error{
			Code:    CodeUnreachable,
			Message: fmt.Sprintf("what answers at %s is not parachute", c.address),
			Hint:    "point --admin or PARACHUTE_ADMIN at the proxy's admin endpoint, not at a port that it serves on",
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
		Message: fmt.Sprintf("lost the connection to the proxy at %s: %v", c.address, err),
		Hint:    "check that it is running, then see what serves with: parachute status",
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
