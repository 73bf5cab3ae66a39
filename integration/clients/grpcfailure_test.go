package clients

import (
	"context"
	"encoding/binary"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/parachute-proxy/parachute/internal/api"
)

// message is a gRPC message with the given bytes in it, as it is on the wire.
func message(bytes string) string {
	return string(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(bytes)))) + bytes
}

// call makes a gRPC call of one message without a gRPC library, which would know of
// deadlines and failures itself.
func (c *client) call(t *testing.T, method string, timeout string) (a answer, status string) {
	t.Helper()
	req := c.request(t, http.MethodPost, "/grpc.testing.TestService/"+method, strings.NewReader(message("")))
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("TE", "trailers")
	req.Header.Set("Hang", "yes")
	if timeout != "" {
		req.Header.Set("Grpc-Timeout", timeout)
	}
	a, err := c.ask(req)
	must(t, err)
	// Without a message, the header may be all there is.
	if status = a.Header.Get("Grpc-Status"); status == "" {
		status = a.Trailer.Get("Grpc-Status")
	}
	if got := a.Header.Get("Content-Type"); a.StatusCode != http.StatusOK || got != "application/grpc" {
		t.Errorf("not an answer in gRPC: %s, %s", a.Status, got)
	}
	return a, status
}

// eachGRPCProtocol runs a test with the protocols that gRPC can be spoken over.
func eachGRPCProtocol(t *testing.T, test func(t *testing.T, protocol string)) {
	t.Helper()
	eachProtocol(t, func(t *testing.T, protocol string) {
		if protocol == h2 || protocol == h3 {
			test(t, protocol)
		}
	})
}

// A server whose time is up resets the stream. To a client with the same deadline,
// which may not have noticed yet, that is the deadline and no failure of a gateway.
func TestGRPCServerThatObservesTheDeadlineFirstIsBelieved(t *testing.T) {
	t.Parallel()
	x, _ := newGRPCSite(t, startGRPC(t, "app"))
	eachGRPCProtocol(t, func(t *testing.T, protocol string) {
		if _, got := x.client(t, protocol).call(t, "EmptyCall", "50m"); got != "4" {
			t.Errorf("Grpc-Status: %q", got)
		}
	})
}

// brokenCall begins an answer with half a message and breaks it off.
func brokenCall(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/grpc")
	_, _ = io.WriteString(w, message("first")+message("second")[:7])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// What the server has sent arrives, and then what a client would make of its reset.
func TestGRPCAnswerThatBreaksOffSaysSo(t *testing.T) {
	t.Parallel()
	x := newSite(t, plain.Get(t), "h2c://"+startH2CApp(t, brokenCall).addr())
	eachGRPCProtocol(t, func(t *testing.T, protocol string) {
		a, got := x.client(t, protocol).call(t, "StreamingOutputCall", "")
		if want := message("first") + message("second")[:7]; a.body != want || got != "13" {
			t.Errorf("%q, Grpc-Status: %q", a.body, got)
		}
	})
}

// A server that dies is UNAVAILABLE to those whose calls it was answering.
func TestGRPCServerThatDiesIsUnavailable(t *testing.T) {
	t.Parallel()
	a := startGRPC(t, "app")
	_, c := newGRPCSite(t, a)
	s, err := c.FullDuplexCall(patient(t))
	must(t, err)
	must(t, s.Send(new(grpc_testing.StreamingOutputCallRequest)))
	_, err = s.Recv()
	must(t, err)
	a.server.Stop()
	if _, err := s.Recv(); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "broke off") {
		t.Errorf("in the middle of a stream: %v", err)
	}
}

// What parachute itself has to say comes as gRPC clients can read it.
func TestGRPCClientsAreToldInTheirOwnWay(t *testing.T) {
	t.Parallel()
	x := newSiteWith(t, plain.Get(t), api.DeployRequest{Targets: []string{refusingAddr(t)}, Force: true, HoldTimeout: duration(0)})
	c := x.grpcClient(t)
	// UNAVAILABLE is what clients repeat, UNKNOWN or INTERNAL is not.
	_, err := c.EmptyCall(patient(t), new(grpc_testing.Empty))
	if s := status.Convert(err); s.Code() != codes.Unavailable || s.Message() != "parachute: the application cannot be reached" {
		t.Errorf("a server that cannot be reached: %v", err)
	}
	for _, protocol := range []string{h2, h3} {
		if a, got := x.client(t, protocol).call(t, "EmptyCall", ""); got != "14" || a.Header.Get("X-Parachute-Error") != "unreachable" {
			t.Errorf("Grpc-Status: %q, %v", got, a.Header)
		}
	}
	if r, err := x.Run("remove", x.host); err != nil || r.Code != 0 {
		t.Fatalf("%v, %+v", err, r)
	}
	_, err = c.EmptyCall(patient(t), new(grpc_testing.Empty))
	if s := status.Convert(err); s.Code() != codes.Unimplemented || !strings.Contains(s.Message(), "no service is deployed") {
		t.Errorf("a service that is gone: %v", err)
	}
}

// The answer to a call is on its way for longer than a stream may take to reach the end
// of a message: the deploy waits for it as it does for any request.
func TestGRPCAnswerThatIsUnderWayIsWaitedFor(t *testing.T) {
	t.Parallel()
	begun, goOn := make(chan struct{}), make(chan struct{})
	x := newSite(t, plain.Get(t), "h2c://"+startH2CApp(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		_, _ = io.WriteString(w, message("answer")[:8])
		_ = http.NewResponseController(w).Flush()
		close(begun)
		<-goOn
		_, _ = io.WriteString(w, message("answer")[8:])
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
	}).addr())
	c := x.client(t, h2)
	answered := make(chan string, 1)
	go func() {
		a, status := c.call(t, "UnaryCall", "")
		answered <- a.body + status
	}()
	arrive(t, "the call", begun)
	next := startApp(t, named("next"))
	deployed := make(chan error, 1)
	go func() {
		_, err := x.Deploy(context.Background(), api.DeployRequest{
			Hosts: []string{x.host}, Targets: []string{next.addr()}, StreamTimeout: duration(0), DrainTimeout: duration(patience),
		})
		deployed <- err
	}()
	select {
	case err := <-deployed:
		t.Errorf("the deploy did not wait: %v", err)
	case <-time.After(4 * time.Second): // a stream has two
	}
	close(goOn)
	if got := arrive(t, "the answer", answered); got != message("answer")+"0" {
		t.Errorf("%q", got)
	}
	must(t, arrive(t, "the deploy", deployed))
}
