package nats

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"sync"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"
)

// Limits of the server of a proxy.
const (
	maxMessage = 8 << 20 // NATS's own advice is to have no more
	maxMemory  = 256 << 20
	maxDisk    = 4 << 30
)

// startServer starts the NATS server of this proxy, which is one of those of an address. It has no other users
// than the proxies of the fleet. If it cannot go on, failed is called.
func startServer(a address, self string, s *secret, name, dir string, logger *zap.Logger, failed func()) (*natsserver.Server, error) {
	host, clusterPort, err := clusterAddress(self)
	if err != nil {
		return nil, err
	}
	config, err := s.tls(name)
	if err != nil {
		return nil, err
	}
	options := &natsserver.Options{
		ServerName: name, Host: host, Port: clusterPort - clusterOffset, MaxPayload: maxMessage,
		TLS: true, TLSVerify: true, TLSConfig: config, TLSTimeout: requestTimeout.Seconds(),
		JetStream: true, StoreDir: filepath.Join(dir, "nats"), JetStreamMaxMemory: maxMemory, JetStreamMaxStore: maxDisk,
		// By default, JetStream says that something is written up to two minutes before it is on disk.
		SyncAlways: true,
		NoSigs:     true,
		// By default, each of some attempts in a second is told, for as long as another server is down.
		ReconnectErrorReports: 60,
	}
	if len(a.servers) > 1 {
		options.Cluster = natsserver.ClusterOpts{
			Name: defaultBucket, Host: host, Port: clusterPort, TLSConfig: config.Clone(), TLSTimeout: requestTimeout.Seconds(),
			NoAdvertise: true, // the proxies have the list
		}
		for _, peer := range a.servers {
			if peer == self {
				continue
			}
			host, port, err := clusterAddress(peer)
			if err != nil {
				return nil, err
			}
			options.Routes = append(options.Routes, &url.URL{Scheme: "nats", Host: net.JoinHostPort(host, strconv.Itoa(port))})
		}
	}
	server, err := natsserver.NewServer(options)
	if err != nil {
		return nil, err
	}
	// A server reads its directory before it listens. Whoever has the port has the directory, too: it may be a process
	// of this proxy that is about to end.
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(options.Port)))
	if err != nil {
		return nil, &portError{err}
	}
	l.Close()
	server.SetLogger(serverLog{logger.Named("nats").Sugar(), sync.OnceFunc(failed)}, false, false)
	go server.Start()
	return server, nil
}

// portError means that another process has the port of a server, or that this machine does not have its address.
type portError struct{ error }

func isPortTaken(err error) bool {
	_, is := errors.AsType[*portError](err)
	return is
}

// serverLog passes on what the server has to say.
type serverLog struct {
	to *zap.SugaredLogger
	// failed is called when the server cannot go on.
	failed func()
}

func (l serverLog) Noticef(format string, v ...any) { l.to.Debugf(format, v...) }
func (l serverLog) Warnf(format string, v ...any)   { l.to.Warnf(format, v...) }
func (l serverLog) Errorf(format string, v ...any)  { l.to.Errorf(format, v...) }
func (l serverLog) Debugf(format string, v ...any)  { l.to.Debugf(format, v...) }
func (l serverLog) Tracef(format string, v ...any)  { l.to.Debugf(format, v...) }

// Fatalf does not end the process: the proxy goes on to serve.
func (l serverLog) Fatalf(format string, v ...any) {
	l.to.Error("the NATS server of this proxy has failed, and is started again: " + fmt.Sprintf(format, v...))
	l.failed()
}
