package proxy

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/forward"
)

// candidate is a release that serves a share of the clients. It is immutable.
type candidate struct {
	*release
	// weight is the share.
	weight api.Percent
	// salt makes every rollout begin with other clients.
	salt uint64
	// by and header say what a client is known by.
	by, header string
	// cookie is the name of the cookie that it is known by.
	cookie string
	// named says that it is the application that sets this cookie. values are those of it whose
	// clients get the candidate in any case.
	named  bool
	values []string
	// off has nobody get the candidate, but with a link.
	off bool
}

// newCandidate returns a release that serves a share of the clients.
func newCandidate(r *release, weight api.Percent, salt uint64, by string) *candidate {
	c := &candidate{release: r, weight: weight, salt: salt, by: by, cookie: bucketCookie(r.Spec.Service)}
	if name, ok := (&api.Rollout{By: by}).Header(); ok {
		c.header = http.CanonicalHeaderKey(name)
	} else if name, ok := (&api.Rollout{By: by}).Cookie(); ok {
		c.cookie, c.named = name, true
	}
	return c
}

// of returns the candidate with the clients that have one of values in their cookie, or off.
func (c *candidate) of(values []string, off bool) *candidate {
	next := *c
	next.values, next.off = values, off
	return &next
}

// with returns c with another share. Clients that have it keep it if the share grows.
func (c *candidate) with(weight api.Percent) *candidate {
	next := *c
	next.weight = weight
	return &next
}

// bucketCookie is the name of the cookie that keeps a client with its release for as long as a
// rollout runs. Services may share a host, so each has a name of its own.
func bucketCookie(service string) string { return "parachute_bucket_" + forward.ShortHash(service) }

// bucketAge is how long browsers keep that cookie, in seconds.
const bucketAge = 24 * 60 * 60

// gets reports whether a visitor is among those that get the candidate.
func (c *candidate) gets(v *visitor) bool {
	switch {
	case c.off:
		return false
	case c.named:
		return c.isFor(v.in)
	case c.weight == 0:
		return false
	case c.by == "ip":
		if addr := clientAddr(v.in, v.client); addr.IsValid() {
			return c.inShare(addr.AsSlice())
		}
	case c.header != "":
		if values := v.in.Header[c.header]; len(values) > 0 {
			return c.inShare([]byte(values[0]))
		}
	default:
		if id := v.bucketID(c); id != "" {
			return c.inShare([]byte(id))
		}
	}
	// Nothing tells who the client is, so it has no release to stay with.
	if v.lot == 0 {
		v.lot = 1 + rand.Uint32N(uint32(api.Whole))
	}
	return v.lot <= uint32(c.weight)
}

// inShare reports whether what a client is known by is in the share of the candidate. Each
// client has a place, which the rollout alone decides, and the share is the first places: who
// has been in it stays in it when it grows.
func (c *candidate) inShare(id []byte) bool {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(append([]byte(nil), id...), c.salt))
	return binary.BigEndian.Uint64(sum[:8])%uint64(api.Whole) < uint64(c.weight)
}

// isFor reports whether the cookie that the application has set says that a client gets the
// candidate. The share is taken as kamal-proxy takes it, by the 32-bit FNV-1a hash of the value: an
// application can know beforehand what its clients get, and who comes from kamal-proxy stays.
func (c *candidate) isFor(r *http.Request) bool {
	cookie, err := r.Cookie(c.cookie)
	if err != nil || cookie.Value == "" {
		return false
	}
	if slices.Contains(c.values, cookie.Value) {
		return true
	}
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(cookie.Value))
	return c.weight > 0 && float64(hash.Sum32()) <= math.MaxUint32*c.weight.Fraction()
}

// bucketID returns what the cookie of the client says; empty if it has none and gets none. A
// client that loads a page gets one: what the page loads comes with it, and so need not have
// one of its own, which would keep it out of caches.
func (v *visitor) bucketID(c *candidate) string {
	if v.bucket == "" {
		if cookie, err := v.in.Cookie(c.cookie); err == nil && len(cookie.Value) <= maxBucketID {
			v.bucket = cookie.Value
		} else if v.loadsPage() {
			v.bucket = hex.EncodeToString(binary.BigEndian.AppendUint64(nil, rand.Uint64()))
			v.cookies = append(v.cookies, v.cookie(c.cookie, v.bucket, bucketAge))
		}
	}
	return v.bucket
}

// maxBucketID bounds what a client may be known by in a cookie, in bytes.
const maxBucketID = 64
