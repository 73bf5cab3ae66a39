package edge

import "time"

// A goroutine begins with a small stack. What serves a request needs more, and to copy the stack
// when it grows is a tenth of the work for a connection with one request. So a goroutine that has
// served a connection waits for another one.

// waiting hands connections to goroutines that wait for one. They belong to no server.
var waiting = make(chan *conn)

// patientFor is how long a goroutine waits for another connection.
const patientFor = time.Second

// start has c served, and returns at once.
func start(c *conn) {
	select {
	case waiting <- c:
	default:
		go work(c)
	}
}

// work serves c and what comes after it.
func work(c *conn) {
	patience := time.NewTimer(0)
	defer patience.Stop()
	for {
		c.serve()
		c = nil // which is not to be kept by who waits
		patience.Reset(patientFor)
		select {
		case c = <-waiting:
		case <-patience.C:
			return
		}
	}
}
