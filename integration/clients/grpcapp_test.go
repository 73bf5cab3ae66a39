package clients

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// grpcApp is a gRPC server over cleartext HTTP/2. Method names are those of gRPC's
// own interoperability tests.
type grpcApp struct {
	grpc_testing.UnimplementedTestServiceServer
	name   string
	addr   string
	server *grpc.Server
	// hanging counts calls that wait for the client to give up, cancelled those of
	// them that have been told so.
	hanging, cancelled atomic.Int64
	// goOn is closed to have calls answered that wait.
	goOn chan struct{}
}

func startGRPC(t *testing.T, name string) *grpcApp {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	a := &grpcApp{name: name, addr: l.Addr().String(), server: grpc.NewServer(), goOn: make(chan struct{})}
	grpc_testing.RegisterTestServiceServer(a.server, a)
	go func() { _ = a.server.Serve(l) }()
	t.Cleanup(a.server.Stop)
	return a
}

// EmptyCall fails in the way that the metadata asks for.
func (a *grpcApp) EmptyCall(ctx context.Context, _ *grpc_testing.Empty) (*grpc_testing.Empty, error) {
	in, _ := metadata.FromIncomingContext(ctx)
	if fail := in.Get("fail-bin"); len(fail) > 0 {
		return nil, status.Error(codes.FailedPrecondition, fail[0])
	}
	if len(in.Get("hang")) > 0 {
		a.hanging.Add(1)
		<-ctx.Done()
		a.cancelled.Add(1)
		return nil, ctx.Err()
	}
	return new(grpc_testing.Empty), nil
}

// UnaryCall answers with the payload it got, and with metadata before and behind it.
func (a *grpcApp) UnaryCall(ctx context.Context, req *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	in, _ := metadata.FromIncomingContext(ctx)
	if len(in.Get("wait")) > 0 {
		a.hanging.Add(1)
		<-a.goOn
	}
	_ = grpc.SetHeader(ctx, metadata.Pairs("x-initial", strings.Join(in.Get("x-echo"), ",")))
	_ = grpc.SetTrailer(ctx, metadata.Pairs("x-last-bin", "\x00\xff\x01"))
	return &grpc_testing.SimpleResponse{Payload: req.Payload, ServerId: a.name}, nil
}

// StreamingOutputCall sends a message of each size that is asked for, then fails.
func (a *grpcApp) StreamingOutputCall(req *grpc_testing.StreamingOutputCallRequest, s grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse]) error {
	for _, p := range req.ResponseParameters {
		if err := s.Send(&grpc_testing.StreamingOutputCallResponse{Payload: &grpc_testing.Payload{Body: pattern(int(p.Size))}}); err != nil {
			return err
		}
	}
	s.SetTrailer(metadata.Pairs("x-count", fmt.Sprint(len(req.ResponseParameters))))
	return status.Error(codes.OutOfRange, "no more: ütf-8")
}

// StreamingInputCall counts what it gets.
func (a *grpcApp) StreamingInputCall(s grpc.ClientStreamingServer[grpc_testing.StreamingInputCallRequest, grpc_testing.StreamingInputCallResponse]) error {
	size := 0
	for {
		req, err := s.Recv()
		if err == io.EOF {
			return s.SendAndClose(&grpc_testing.StreamingInputCallResponse{AggregatedPayloadSize: int32(size)})
		}
		if err != nil {
			return err
		}
		size += len(req.Payload.GetBody())
	}
}

// FullDuplexCall is an echo.
func (a *grpcApp) FullDuplexCall(s grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]) error {
	for {
		req, err := s.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.Send(&grpc_testing.StreamingOutputCallResponse{Payload: req.Payload}); err != nil {
			return err
		}
	}
}
