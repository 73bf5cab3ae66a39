package clients

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/parachute-proxy/parachute/internal/api"
)

// newGRPCSite deploys a gRPC server and returns a client that reaches it over TLS.
func newGRPCSite(t *testing.T, a *grpcApp) (*site, grpc_testing.TestServiceClient) {
	t.Helper()
	// The server answers 415 to health checks, and a few of them would make it look failing.
	x := newSiteWith(t, plain.Get(t), api.DeployRequest{
		Targets: []string{"h2c://" + a.addr}, Force: true, HealthCheckInterval: duration(time.Hour),
	})
	return x, x.grpcClient(t)
}

func (x *site) grpcClient(t *testing.T) grpc_testing.TestServiceClient {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+x.HTTPSAddr(),
		grpc.WithTransportCredentials(credentials.NewClientTLSFromCert(x.roots, x.host)), grpc.WithAuthority(x.host))
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	return grpc_testing.NewTestServiceClient(conn)
}

func patient(t *testing.T, pairs ...string) context.Context {
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), pairs...), patience)
	t.Cleanup(cancel)
	return ctx
}

// Trap 26.
func TestGRPCUnaryCall(t *testing.T) {
	t.Parallel()
	_, c := newGRPCSite(t, startGRPC(t, "app"))
	var header, trailer metadata.MD
	var from peer.Peer
	body := pattern(1 << 20)
	got, err := c.UnaryCall(patient(t, "x-echo", "hello"), &grpc_testing.SimpleRequest{Payload: &grpc_testing.Payload{Body: body}},
		grpc.Header(&header), grpc.Trailer(&trailer), grpc.Peer(&from))
	must(t, err)
	if string(got.Payload.GetBody()) != string(body) || got.ServerId != "app" {
		t.Errorf("%d bytes from %s", len(got.Payload.GetBody()), got.ServerId)
	}
	if v := header.Get("x-initial"); len(v) != 1 || v[0] != "hello" {
		t.Errorf("initial metadata: %v", header)
	}
	if v := trailer.Get("x-last-bin"); len(v) != 1 || v[0] != "\x00\xff\x01" {
		t.Errorf("trailing metadata: %q", trailer)
	}
}

// An answer that is nothing but trailers keeps its status and message.
func TestGRPCStatusArrives(t *testing.T) {
	t.Parallel()
	x, c := newGRPCSite(t, startGRPC(t, "app"))
	for _, message := range []string{"plain", "with % and ünicode\nand a line"} {
		var trailer metadata.MD
		_, err := c.EmptyCall(patient(t, "fail-bin", message), new(grpc_testing.Empty), grpc.Trailer(&trailer))
		if s := status.Convert(err); s.Code() != codes.FailedPrecondition || s.Message() != message {
			t.Errorf("%q: %v", message, err)
		}
	}
	if _, err := c.UnimplementedCall(patient(t), new(grpc_testing.Empty)); status.Code(err) != codes.Unimplemented {
		t.Errorf("a method that does not exist: %v", err)
	}
	x.wantUnharmed(t)
}

func TestGRPCServerStream(t *testing.T) {
	t.Parallel()
	_, c := newGRPCSite(t, startGRPC(t, "app"))
	sizes := []int32{0, 1, 100_000, 3, 1 << 20}
	req := new(grpc_testing.StreamingOutputCallRequest)
	for _, n := range sizes {
		req.ResponseParameters = append(req.ResponseParameters, &grpc_testing.ResponseParameters{Size: n})
	}
	s, err := c.StreamingOutputCall(patient(t), req)
	must(t, err)
	for _, n := range sizes {
		got, err := s.Recv()
		must(t, err)
		if string(got.Payload.GetBody()) != string(pattern(int(n))) {
			t.Errorf("a message of %d bytes arrived as %d", n, len(got.Payload.GetBody()))
		}
	}
	_, err = s.Recv()
	if e := status.Convert(err); e.Code() != codes.OutOfRange || e.Message() != "no more: ütf-8" || len(s.Trailer().Get("x-count")) != 1 {
		t.Errorf("at the end: %v, %v", err, s.Trailer())
	}
}

func TestGRPCClientStream(t *testing.T) {
	t.Parallel()
	_, c := newGRPCSite(t, startGRPC(t, "app"))
	s, err := c.StreamingInputCall(patient(t))
	must(t, err)
	for range 20 {
		must(t, s.Send(&grpc_testing.StreamingInputCallRequest{Payload: &grpc_testing.Payload{Body: make([]byte, 50_000)}}))
	}
	got, err := s.CloseAndRecv()
	if err != nil || got.AggregatedPayloadSize != 1_000_000 {
		t.Errorf("%v, %v", got, err)
	}
}

// Each message of a bidirectional stream is answered before the next is sent.
func TestGRPCBidirectionalStream(t *testing.T) {
	t.Parallel()
	_, c := newGRPCSite(t, startGRPC(t, "app"))
	s, err := c.FullDuplexCall(patient(t))
	must(t, err)
	for i := range 30 {
		want := fmt.Sprint("message ", i)
		must(t, s.Send(&grpc_testing.StreamingOutputCallRequest{Payload: &grpc_testing.Payload{Body: []byte(want)}}))
		got, err := s.Recv()
		if err != nil || string(got.Payload.GetBody()) != want {
			t.Fatalf("%v, %v", got, err)
		}
	}
	must(t, s.CloseSend())
	if _, err := s.Recv(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

// Deadlines and cancellations reach the server.
func TestGRPCCancellationReachesTheServer(t *testing.T) {
	t.Parallel()
	a := startGRPC(t, "app")
	x, c := newGRPCSite(t, a)
	if _, err := c.EmptyCall(patient(t), new(grpc_testing.Empty)); err != nil {
		t.Fatal(err) // the connection stands now, and takes nothing from the deadline
	}
	ctx, cancel := context.WithTimeout(patient(t, "hang", "yes"), 500*time.Millisecond)
	defer cancel()
	if _, err := c.EmptyCall(ctx, new(grpc_testing.Empty)); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("with a deadline: %v", err)
	}
	before := a.hanging.Load()
	ctx, cancel = context.WithCancel(patient(t, "hang", "yes"))
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := c.EmptyCall(ctx, new(grpc_testing.Empty))
		ended <- err
	}()
	waitFor(t, "the call to arrive", func() bool { return a.hanging.Load() > before })
	cancel()
	if err := arrive(t, "the end of the call", ended); status.Code(err) != codes.Canceled {
		t.Errorf("cancelled: %v", err)
	}
	waitFor(t, "the server to be told", func() bool { return a.cancelled.Load() == a.hanging.Load() })
	waitFor(t, "the requests to end", func() bool { return x.status(t).Active.Requests == 0 })
}

// A call that takes its time is no stream, however the stream timeout is: the deploy
// waits for its answer.
func TestGRPCCallOutlivesTheStreamTimeout(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 10, 100_000} {
		t.Run(fmt.Sprint(size, " bytes"), func(t *testing.T) {
			t.Parallel()
			old, next := startGRPC(t, "old"), startGRPC(t, "next")
			x, c := newGRPCSite(t, old)
			const calls = 10
			ended := make(chan error, calls)
			for range calls {
				go func() {
					body := &grpc_testing.Payload{Body: make([]byte, size)}
					got, err := c.UnaryCall(patient(t, "wait", "yes"), &grpc_testing.SimpleRequest{Payload: body})
					if err == nil && len(got.Payload.GetBody()) != size {
						err = fmt.Errorf("%d bytes came back", len(got.Payload.GetBody()))
					}
					ended <- err
				}()
			}
			waitFor(t, "the calls", func() bool { return old.hanging.Load() == calls })
			deployed := make(chan error, 1)
			go func() {
				_, err := x.Deploy(context.Background(), api.DeployRequest{
					Hosts: []string{x.host}, Targets: []string{"h2c://" + next.addr}, Force: true, StreamTimeout: duration(0),
				})
				deployed <- err
			}()
			waitFor(t, "the switch", func() bool { return x.status(t).Active.Release == 2 })
			close(old.goOn)
			for range calls {
				if err := arrive(t, "an answer", ended); err != nil {
					t.Error(err)
				}
			}
			must(t, arrive(t, "the deploy", deployed))
		})
	}
}

// A client that has nothing to say on its stream does not stall: it listens.
func TestSilentGRPCClientIsNotCutOff(t *testing.T) {
	t.Parallel()
	const timeout = 500 * time.Millisecond
	a := startGRPC(t, "app")
	x := newSiteWith(t, startImpatient(t, timeout), api.DeployRequest{Targets: []string{"h2c://" + a.addr}, Force: true})
	s, err := x.grpcClient(t).FullDuplexCall(patient(t))
	must(t, err)
	for range 2 {
		must(t, s.Send(new(grpc_testing.StreamingOutputCallRequest)))
		_, err = s.Recv()
		must(t, err)
		time.Sleep(3 * timeout) // the time that is up
	}
	must(t, s.CloseSend())
	if _, err := s.Recv(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

// Trap 10: a stream on which nobody speaks does not hold a deploy, and its client is
// told that it may come back.
func TestIdleGRPCStreamIsClosedPolitely(t *testing.T) {
	t.Parallel()
	x, c := newGRPCSite(t, startGRPC(t, "a"))
	s, err := c.FullDuplexCall(patient(t))
	must(t, err)
	must(t, s.Send(new(grpc_testing.StreamingOutputCallRequest)))
	_, err = s.Recv()
	must(t, err)
	done := x.deploy(t, api.DeployRequest{
		Targets: []string{"h2c://" + startGRPC(t, "b").addr}, Force: true, StreamTimeout: duration(100 * time.Millisecond),
	})
	if len(done.Drained) != 1 || done.Drained[0].Streams != 1 || done.Drained[0].CutStreams != 0 {
		t.Errorf("drained: %+v", done.Drained)
	}
	if _, err := s.Recv(); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "a new release took over") {
		t.Errorf("at the end: %v", err)
	}
}

// Deploys cost no call; the connection to the proxy stays, the server changes.
func TestGRPCCallsOutliveDeploys(t *testing.T) {
	t.Parallel()
	apps := []*grpcApp{startGRPC(t, "a"), startGRPC(t, "b")}
	x, c := newGRPCSite(t, apps[0])
	duplex, err := c.FullDuplexCall(patient(t))
	must(t, err)
	stop, failed := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(failed)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := c.UnaryCall(patient(t), new(grpc_testing.SimpleRequest)); err != nil {
				failed <- err
				return
			}
		}
	}()
	deployed := make(chan error, 1)
	go func() {
		_, err := x.Deploy(context.Background(), api.DeployRequest{Hosts: []string{x.host}, Targets: []string{"h2c://" + apps[1].addr}, Force: true})
		deployed <- err
	}()
	waitFor(t, "the switch", func() bool { return x.status(t).Active.Release == 2 })
	// A stream of the old release goes on, for it is waited for.
	must(t, duplex.Send(&grpc_testing.StreamingOutputCallRequest{Payload: &grpc_testing.Payload{Body: []byte("still here")}}))
	if got, err := duplex.Recv(); err != nil || string(got.Payload.GetBody()) != "still here" {
		t.Errorf("the stream of the old release: %v, %v", got, err)
	}
	if got, err := c.UnaryCall(patient(t), new(grpc_testing.SimpleRequest)); err != nil || got.ServerId != "b" {
		t.Errorf("after the switch: %v, %v", got, err)
	}
	must(t, duplex.CloseSend())
	if _, err := duplex.Recv(); err != io.EOF {
		t.Errorf("the end of the stream: %v", err)
	}
	must(t, arrive(t, "the deploy", deployed))
	for range 4 {
		for _, a := range apps {
			x.deploy(t, api.DeployRequest{Targets: []string{"h2c://" + a.addr}, Force: true})
		}
	}
	close(stop)
	if err := <-failed; err != nil {
		t.Errorf("a call failed: %v", err)
	}
}
