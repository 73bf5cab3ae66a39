package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// listen opens the address: [host]:port, or unix//path for a Unix socket.
func listen(addr string) (net.Listener, error) {
	path, isUnix := strings.CutPrefix(addr, "unix/")
	if !isUnix {
		return net.Listen("tcp", addr)
	}
	// A socket outlives a killed process as a file that refuses connections.
	// Anything that still accepts them belongs to someone and is left alone.
	conn, err := net.Dial("unix", path)
	if err == nil {
		conn.Close()
		return nil, fmt.Errorf("listening on %s: another process does", path)
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Type() == os.ModeSocket {
		os.Remove(path) // if this fails, so does Listen, with a better message
	}
	return net.Listen("unix", path)
}

// serve answers requests on ln until ctx is done. Then it stops gracefully:
// requests are finished and streams closed politely, for at most stopTimeout.
func serve(ctx context.Context, ln net.Listener, a *app, stopTimeout time.Duration) error {
	srv := &http.Server{
		Handler:           a,
		ReadHeaderTimeout: 10 * time.Second,
		Protocols:         new(http.Protocols),
	}
	// Cleartext HTTP/2 is there for targets given as h2c://.
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	srv.RegisterOnShutdown(a.endStreams)

	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	select {
	case err := <-served:
		return fmt.Errorf("serving on %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		srv.Close()
		return fmt.Errorf("waiting for requests to end: %w", err)
	}
	if err := a.waitForWebSockets(ctx); err != nil {
		return fmt.Errorf("waiting for WebSockets to close: %w", err)
	}
	return nil
}
