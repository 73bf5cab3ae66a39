package client

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Whoever removes a service wants to know what was cut, above all when something was:
// the outcome of a call that failed is not lost behind its error.
func TestOutcomeComesWithTheError(t *testing.T) {
	admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusGatewayTimeout)
		_, _ = io.WriteString(w, `{"error":{"code":"drain_timeout","message":"cut"},"outcome":{"service":"web"}}`)
	}))
	t.Cleanup(admin.Close)
	c, err := New(admin.URL)
	if err != nil {
		t.Fatal(err)
	}
	var removal api.Removal
	err = c.Call(context.Background(), http.MethodDelete, api.ServicePath("web"), nil, &removal)
	if api.ErrorCode(err) != api.CodeDrainTimeout {
		t.Errorf("the error is %v", err)
	}
	if removal.Service != "web" {
		t.Errorf("the outcome is %+v", removal)
	}
}
