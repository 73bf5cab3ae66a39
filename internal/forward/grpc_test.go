package forward

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

func TestTimeoutsOfCallsAreUnderstood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for timeout, want := range map[string]time.Duration{
			"1H": time.Hour, "2M": 2 * time.Minute, "30S": 30 * time.Second, "500m": 500 * time.Millisecond,
			"7u": 7 * time.Microsecond, "99999999n": 99_999_999, "0m": 0,
		} {
			if got := callDeadline(http.Header{"Grpc-Timeout": {timeout}}); !got.Equal(time.Now().Add(want)) {
				t.Errorf("%s: %s", timeout, time.Until(got))
			}
		}
		for _, timeout := range []string{"", "m", "5", "5s", "-5m", "+5m", "1.5S", "123456789m", "99999999H"} {
			if got := callDeadline(http.Header{"Grpc-Timeout": {timeout}}); !got.IsZero() {
				t.Errorf("%q: %s", timeout, time.Until(got))
			}
		}
	})
}

func TestCallsAreToldFromOtherRequests(t *testing.T) {
	for contentType, want := range map[string]bool{
		"application/grpc": true, "application/grpc+proto": true, "application/grpc;charset=utf-8": true,
		"application/grpc-web": false, "application/grpc-web+proto": false, "application/json": false, "": false,
	} {
		r := &http.Request{ProtoMajor: 2, Header: http.Header{"Content-Type": {contentType}}}
		if got := IsGRPCRequest(r); got != want {
			t.Errorf("%q: %v", contentType, got)
		}
		if r.ProtoMajor = 1; IsGRPCRequest(r) {
			t.Errorf("%q over HTTP/1.1, which has no gRPC", contentType)
		}
	}
}
