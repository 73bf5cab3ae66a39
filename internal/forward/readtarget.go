package forward

import (
	"net/http"
	"strconv"
	"time"
)

// writerCookie is the name of the cookie in which a client that has written keeps until when
// the targets that write read for it. Services may share a host, so each has a name of its own.
func writerCookie(service string) string { return "parachute_writer_" + ShortHash(service) }

// noAffinityField is with which an application says that a request has written nothing that
// its client needs to see at once.
const noAffinityField = "X-Writer-Affinity"

// writers are the upstreams that get every request. Those behind them are the read targets.
func (r *Release) writers() []*upstream { return r.upstreams[:len(r.Spec.Targets)] }

// hasReadTargets reports whether some requests go to other targets than the rest.
func (r *Release) hasReadTargets() bool { return len(r.Spec.ReadTargets) > 0 }

// readers are the read targets, if the request may go to one: it reads, and its client has not
// written a moment ago.
func (r *Release) readers(x *exchange) []*upstream {
	if !r.hasReadTargets() || !x.reads() || x.wroteLately() {
		return nil
	}
	return r.upstreams[len(r.Spec.Targets):]
}

// reads reports whether the request only reads. A WebSocket, which begins with a GET, may do
// anything.
func (x *exchange) reads() bool {
	if x.upgradeWanted() != "" {
		return x.release.Spec.Options.ReadTargetWebSockets
	}
	return x.in.Method == http.MethodGet || x.in.Method == http.MethodHead
}

// maxClockDifference is how much the clocks of proxies that share a cookie may differ.
const maxClockDifference = time.Minute

// wroteLately reports whether the client has written within the time of the affinity. A time
// that is further away than that was made up.
func (x *exchange) wroteLately() bool {
	cookie, err := x.in.Cookie(writerCookie(x.release.Spec.Service))
	if err != nil {
		return false
	}
	until, err := strconv.ParseInt(cookie.Value, 10, 64)
	left := time.Until(time.UnixMilli(until))
	return err == nil && left > 0 && left <= time.Duration(x.release.Spec.Options.WriterAffinity)+maxClockDifference
}

// keepWithWriter tells the client that has written, and gets h for answer, to ask the targets that
// write for a while.
func (x *exchange) keepWithWriter(h, answer http.Header) {
	r := x.release
	unwanted := answer.Get(noAffinityField) == "false"
	delete(h, noAffinityField)
	affinity := time.Duration(r.Spec.Options.WriterAffinity)
	if unwanted || affinity == 0 || x.reads() {
		return
	}
	until := time.Now().Add(affinity)
	secure := x.from.ByTLS(x.in)
	cookie := http.Cookie{
		Name: writerCookie(r.Spec.Service), Value: strconv.FormatInt(until.UnixMilli(), 10),
		// The browser may drop it a little late: the value is what counts.
		MaxAge: int(affinity/time.Second) + 1,
		Path:   "/", HttpOnly: true, Secure: secure, SameSite: sameSite("", secure),
	}
	h.Add("Set-Cookie", cookie.String())
}

// candidates returns how many upstreams there are for the request.
func (r *Release) candidates(x *exchange) int { return len(r.writers()) + len(r.readers(x)) }

// pickReader chooses the read target for a request; nil if the request is not for one, or if
// all were tried or are failing.
func (r *Release) pickReader(x *exchange, tried []*upstream) *upstream {
	u := r.pickOf(r.readers(x), tried)
	if u == nil || u.failing() {
		return nil
	}
	return u
}
