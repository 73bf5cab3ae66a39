package forward

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/parachute-proxy/parachute/internal/transport"
)

// Forward sends the request, which the caller has acquired r for, to one of r's
// targets and the answer to w. It ends what the caller acquired. An error means
// that nothing has been written, unless it is ErrBrokenOff. All but ErrMoved are a
// [Failure].
func (r *Release) Forward(w http.ResponseWriter, in *http.Request, prefix string, from Sender) (err error) {
	if from.Began.IsZero() {
		from.Began = time.Now()
	}
	x := &exchange{client: in.Context(), prefix: prefix, from: from, w: w, in: in, slot: slot{release: r}}
	_, x.repeated = in.Body.(repeatedBody)
	detached := false
	defer func() { err = x.finish(err, detached) }()
	if !Forwardable(in) {
		return ErrBadRequest
	}
	EndAmbiguous(w, in)
	if hasBody(in) {
		x.body = newRequestBody(in, w)
		x.large = in.ContentLength < 0 || in.ContentLength > maxTimedBody
		if x.body.spool == nil && in.ProtoMajor == 3 && in.ContentLength < 0 && !transport.HasBodyAsARule(in.Method) && x.body.empty() {
			x.body = nil
		}
	}
	if !r.plain && IsGRPCRequest(in) {
		x.call = &call{deadline: callDeadline(in.Header)}
	}
	out, upgrade := x.targetRequest()
	resp, err := r.roundTrip(x, out)
	switch {
	case !errors.Is(err, ErrMoved):
	case x.body != nil:
		// What has been read of it is for the next release, which goes on reading.
		in.Body = x.body
		x.body, x.pooled = nil, nil
		return ErrMoved
	case x.repeated:
		in.Body = repeatedBody{http.NoBody}
		return ErrMoved
	}
	if x.body != nil {
		x.body.answer()
	}
	if err != nil {
		err = x.classify(err)
		if errors.Is(err, ErrTimeout) {
			x.upstream.missed()
		}
		return err
	}
	x.upstream.answered()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		detached, err = x.switchProtocols(resp, upgrade)
		return err
	}
	if in.Method == http.MethodConnect && resp.StatusCode/100 == 2 {
		// To a CONNECT this would say that the tunnel is open.
		_ = resp.Body.Close()
		return wrap(ErrBadGateway, errNoSwitch)
	}
	if r.intercepted != nil {
		if err := x.intercept(resp); err != nil {
			return err
		}
	}
	if err := x.takeAnswer(resp); err != nil {
		return err
	}
	return x.relay(resp)
}

// EndAmbiguous has the connection end with a request of which others may think that it ends
// elsewhere. There may have been a Content-Length beside its Transfer-Encoding, which net/http
// drops before anybody can see it. To a client or a proxy before us that goes by that length,
// what follows would be the answer to something else (RFC 9112, section 6.3).
//
// A server that refuses such requests says so by its writer.
func EndAmbiguous(w http.ResponseWriter, in *http.Request) {
	if _, again := in.Body.(*requestBody); !again && in.ProtoMajor == 1 && len(in.TransferEncoding) > 0 {
		if _, strict := unwrapWriter(w).(interface{ FramesStrictly() }); strict {
			return
		}
		w.Header()["Connection"] = []string{"close"}
	}
}

// repeatedBody is the body, which is empty, of a request that must not be repeated by the
// next release, since it has been by the last.
type repeatedBody struct{ io.ReadCloser }

// oneLength reports whether a request has at most one length, and that one a number
// (RFC 9112, section 6.3). HTTP/2 and 3 leave it to us to look.
func oneLength(in *http.Request) bool {
	lengths := in.Header["Content-Length"]
	if len(lengths) == 0 {
		return true
	}
	n, err := strconv.ParseUint(lengths[0], 10, 63) // which takes no sign
	return len(lengths) == 1 && err == nil && int64(n) == in.ContentLength
}

// Forwardable reports whether a request may be sent to a target: no CONNECT, which
// asks for a tunnel to somewhere else, unless it is the way in which HTTP/2 and 3
// ask for a WebSocket; and no request target that is no path (RFC 9112, section
// 3.2), has a fragment or is not ASCII, which apps read in different ways.
func Forwardable(in *http.Request) bool {
	path := in.URL.Path
	return httpguts.ValidHeaderFieldName(in.Method) &&
		(in.Method != http.MethodConnect || extendedConnect(in) != "") &&
		in.URL.Opaque == "" && oneLength(in) && (path == "" || path[0] == '/') &&
		!strings.ContainsFunc(in.RequestURI, func(r rune) bool { return r >= 0x7f || r <= ' ' || r == '#' })
}
