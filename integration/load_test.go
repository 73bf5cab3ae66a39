package integration

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
)

// getLoad makes GET requests until it is stopped, and counts what failed.
type getLoad struct {
	client           *http.Client
	stop             context.CancelFunc
	users            sync.WaitGroup
	requests, failed atomic.Int64
	firstError       atomic.Pointer[string]
}

// startLoad starts users who each keep their connection, or take a fresh one for
// each request.
func startLoad(t *testing.T, url string, users int, fresh bool) *getLoad {
	ctx, stop := context.WithCancel(context.Background())
	l := &getLoad{
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: users, DisableKeepAlives: fresh}, Timeout: patience},
		stop:   stop,
	}
	t.Cleanup(stop)
	for range users {
		l.users.Go(func() {
			for ctx.Err() == nil {
				if err := getOK(l.client, url); err != nil {
					l.failed.Add(1)
					text := err.Error()
					l.firstError.CompareAndSwap(nil, &text)
				}
				l.requests.Add(1)
			}
		})
	}
	return l
}

func getOK(client *http.Client, url string) error {
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %s", resp.Status)
	}
	return nil
}

// waitForMore waits until n more requests have ended.
func (l *getLoad) waitForMore(t *testing.T, n int64) {
	t.Helper()
	seen := l.requests.Load()
	waitFor(t, "requests", func() bool { return l.requests.Load() >= seen+n })
}

// end lets every user finish, and tells what became of the requests.
func (l *getLoad) end() string {
	l.stop()
	l.users.Wait()
	l.client.CloseIdleConnections()
	text := fmt.Sprintf("%d of %d requests failed", l.failed.Load(), l.requests.Load())
	if first := l.firstError.Load(); first != nil {
		text += ", the first with: " + *first
	}
	return text
}
