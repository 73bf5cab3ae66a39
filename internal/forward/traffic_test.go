package forward

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// What clients send must not make new series: a method can be any word, and a target's
// status any number of three digits.
func TestTrafficHasAFixedSetOfLabels(t *testing.T) {
	var traffic Traffic
	for method, n := range map[string]int{http.MethodPost: 2, "PROPFIND": 1, "get": 1, "": 1} {
		for range n {
			traffic.Count(method, 204, 0)
		}
	}
	for _, status := range []int{101, 301, 404, 499, 503, 600, 999, 0} {
		traffic.Count(http.MethodHead, status, 0)
	}
	got := make(map[string]int64)
	traffic.Requests(func(method, class string, n int64) { got[method+" "+class] = n })
	want := map[string]int64{
		"POST 2xx": 2, "OTHER 2xx": 3, "HEAD 1xx": 1, "HEAD 3xx": 1, "HEAD 4xx": 2, "HEAD 5xx": 4,
	}
	for key, n := range got {
		if n != want[key] {
			t.Errorf("%s: %d, want %d", key, n, want[key])
		}
		delete(want, key)
	}
	if len(want) > 0 || len(got) != 4*len(classes) {
		t.Errorf("%v, and not there: %v", got, want)
	}
	if _, used := got["GET 5xx"]; !used {
		t.Error("before anybody has sent a GET, there is no series that could rise")
	}
}

func TestTrafficHasDurationsAtMostTheirBounds(t *testing.T) {
	var traffic Traffic
	for _, took := range []time.Duration{0, time.Millisecond, time.Millisecond + 1, 30 * time.Second, time.Hour} {
		traffic.Count(http.MethodGet, 200, took)
	}
	count, sum, atMost := traffic.Durations()
	if got := fmt.Sprint(count, sum, atMost[0.001], atMost[0.005], atMost[10], atMost[30], len(atMost)); got != "5 3630.002000001 2 3 3 4 13" {
		t.Error(got)
	}
}

func BenchmarkTrafficCount(b *testing.B) {
	var traffic Traffic
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			traffic.Count(http.MethodGet, 200, 300*time.Microsecond)
		}
	})
}
