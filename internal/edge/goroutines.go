package edge

import (
	"net"
	"time"
)

// A goroutine begins with a small stack. What serves a request needs more, and to copy the stack
// when it grows is a tenth of the work for a connection with one request. So a goroutine that has
// served a connection waits for another one.

// job is a connection that a server has to serve.
type job struct {
	server *Server
	conn   net.Conn
}

// waiting hands jobs to goroutines that wait for one. They belong to no server.
var waiting = make(chan job)

// patientFor is how long a goroutine waits for another connection.
const patientFor = time.Second

// Start has c served, for which CanServe has returned true, and returns at once.
func (s *Server) Start(c net.Conn) {
	j := job{s, c}
	select {
	case waiting <- j:
	default:
		go work(j)
	}
}

// work serves j and what comes after it.
func work(j job) {
	patience := time.NewTimer(0)
	defer patience.Stop()
	for {
		j.server.Serve(j.conn)
		j = job{} // which is not to be kept by who waits
		patience.Reset(patientFor)
		select {
		case j = <-waiting:
		case <-patience.C:
			return
		}
	}
}
