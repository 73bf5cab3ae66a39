package handlers

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestHeadIsNotKeptUntilTheFirstByte by encode, if the proxy flushes it. What is sent at once
// is compressed as ever.
func TestHeadIsNotKeptUntilTheFirstByte(t *testing.T) {
	c := newChain(t, newHost(t, Safe), "encode gzip")
	text := strings.Repeat("compress me ", 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := passTo(c, w, r, func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("Content-Type", r.URL.Query().Get("type"))
			if r.URL.Path == "/own" {
				w.Header().Set("Incremental", "?1")
			}
			w.WriteHeader(http.StatusAccepted)
			if r.URL.Path == "/none" {
				return nil
			}
			if r.URL.Path != "/at-once" {
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
				return nil
			}
			_, err := io.WriteString(w, text)
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	for path, own := range map[string]string{"/silent?type=text/html": "", "/silent?type=application/grpc": "", "/own?type=text/html": "?1", "/none?type=text/html": "", "/at-once?type=text/html": ""} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept-Encoding", "gzip")
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusAccepted || resp.Header.Get("Incremental") != own {
			t.Errorf("%s: %s, %v", path, resp.Status, resp.Header)
		}
		if strings.HasPrefix(path, "/at-once") {
			unzipped, err := gzip.NewReader(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(unzipped); string(got) != text {
				t.Errorf("the answer is %.50q (%v)", got, err)
			}
		}
		resp.Body.Close()
	}
}
