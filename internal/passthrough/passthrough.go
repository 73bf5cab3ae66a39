// Package passthrough is what the server of HTTP/1.1 and those who forward hand each other for a request
// that is passed on as it was sent: its head is written to the target with the few fields that a proxy
// changes, and so is the answer's to the client. No [http.Request] is made of it, with its maps of fields.
//
// That is for the request that most are: without a body, to a service that asks for nothing else, answered
// at once and as a whole. Whatever turns out to be more becomes an ordinary request, together with what has
// been begun of it.
package passthrough

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"github.com/parachute-proxy/parachute/internal/http1"
)

// Request is a GET or HEAD of HTTP/1.1 without a body, on a connection that the client wants to keep.
type Request struct {
	// Head is the request as it was sent. It is valid until the request has been answered.
	Head *http1.Request
	// Method, Target and Host are those of Head. Target is Path with the query. In Path, nothing is escaped,
	// and no segment is empty or begins with a dot.
	Method, Target, Path, Host string
	// Size is that of the head in bytes.
	Size int
	// RemoteAddr is the address of the client with its port, and Client the address alone.
	RemoteAddr, Client string
	// TLS is nil without TLS.
	TLS *tls.ConnectionState
	// Conn is the connection to the client, below TLS if there is any, and Context that of the connection.
	Conn    net.Conn
	Context context.Context
	// Began is when the request came.
	Began time.Time
	// AnswerFields are fields that the head of the answer has, whatever the target says, and ServerFields those
	// that it has if the target says nothing of its server.
	AnswerFields, ServerFields []http1.Field
	// Answer takes the answer.
	Answer ResponseWriter
	// Log, if not nil, is told of the answer.
	Log Logger
}

// Logger is told of a request that has been answered, before the client gets the answer.
type Logger interface {
	// LogPassedThrough must not keep anything of what it gets.
	LogPassedThrough(r *Request, a *Answered)
}

// Answered is how a Request has been answered.
type Answered struct {
	Status int
	// Fields are those of the answer that the client gets, but for Date if it is ours.
	Fields []http1.Field
	// Size is that of the content in bytes.
	Size int
	// Took is how long it took to answer the request, which is what the target took.
	Took time.Duration
	// Service, Release and Target say who has answered, and RequestID what the target knows the request by.
	Service   string
	Release   int
	Target    string
	RequestID string
}

// ResponseWriter takes the answer to a Request.
type ResponseWriter interface {
	// Begin returns the beginning of the head of an answer with a status: the buffer to append field lines to.
	Begin(status int) []byte
	// End completes the head, and takes a body that is whole. What there is no room for is sent at once, and the
	// rest when the Handler has returned. hasDate says that the field Date is there.
	End(head, body []byte, hasDate bool)
}

// Handler is an [http.Handler] that may answer a Request.
type Handler interface {
	http.Handler
	// PassThrough returns true if it has answered r. If it has not, next says who serves the ordinary request
	// that is made of r: nil for the Handler itself, to which nothing has happened yet.
	PassThrough(r *Request) (answered bool, next http.Handler)
}
