package main

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestHealthFollowsTheClock(t *testing.T) {
	start := time.Now()
	for _, test := range []struct {
		boot, unhealthyAfter, now time.Duration
		want                      string
	}{
		{0, 0, 0, ""},
		{0, 0, 1000 * time.Hour, ""},
		{5 * time.Second, 0, 5*time.Second - 1, reasonBooting},
		{5 * time.Second, 0, 5 * time.Second, ""},
		{5 * time.Second, time.Second, 6*time.Second - 1, ""},
		{5 * time.Second, time.Second, 6 * time.Second, reasonUnhealthy},
	} {
		h := newHealth(start, test.boot, test.unhealthyAfter)
		if got := h.problem(start.Add(test.now)); got != test.want {
			t.Errorf("%+v: got %q", test, got)
		}
	}
}

func TestHealthCanBeSwitched(t *testing.T) {
	_, srv := start(t, options{})
	for _, test := range []struct {
		up     string
		status int
		reason string
	}{
		{"false", http.StatusServiceUnavailable, reasonSwitched},
		{"true", http.StatusOK, "ready"},
	} {
		if resp, body := fetch(t, http.MethodPost, srv.URL+"/admin/health?up="+test.up, ""); resp.StatusCode != http.StatusOK {
			t.Fatalf("switching: %d %s", resp.StatusCode, body)
		}
		resp, body := fetch(t, http.MethodGet, srv.URL+"/up", "")
		if resp.StatusCode != test.status || !strings.Contains(body, test.reason) {
			t.Errorf("up=%s: got %d %s", test.up, resp.StatusCode, body)
		}
		if resp, _ := fetch(t, http.MethodGet, srv.URL+"/", ""); resp.StatusCode != http.StatusOK {
			t.Errorf("up=%s: the page answers %d", test.up, resp.StatusCode)
		}
	}
}

func TestBootingCannotBeSwitchedOff(t *testing.T) {
	_, srv := start(t, options{bootDelay: time.Hour})
	if resp, _ := fetch(t, http.MethodPost, srv.URL+"/admin/health?up=true", ""); resp.StatusCode != http.StatusOK {
		t.Fatalf("switching: %d", resp.StatusCode)
	}
	resp, body := fetch(t, http.MethodGet, srv.URL+"/up", "")
	if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, reasonBooting) {
		t.Errorf("got %d %s", resp.StatusCode, body)
	}
}
