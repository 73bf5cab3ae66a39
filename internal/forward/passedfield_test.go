package forward

import (
	"net/http"
	"strings"
	"testing"
)

// A request that is passed through gets no field to a target that an ordinary one does not.
func TestPassedThroughFieldsAreThoseOfOrdinaryRequests(t *testing.T) {
	for _, name := range []string{
		"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer",
		"Transfer-Encoding", "Upgrade", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port",
		"X-Forwarded-Prefix", "X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Forwarded-Server", "X-Forwarded-Ssl", "X-Real-Ip",
		"Host", "Accept", "Cookie", "Cache-Control", "User-Agent", "X-Forwarded", "Alt-Svc", "X-Requested-With",
	} {
		stays := !hopByHop(name) && !speaksForOthers(name) && name != "Host"
		for _, spelled := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
			if got := passedRequestFields.of([]byte(spelled)); (got == ordinaryField) != stays {
				t.Errorf("%s is %d", spelled, got)
			}
		}
	}
	for _, list := range passedRequestFields {
		for _, known := range list {
			for _, k := range known {
				name := http.CanonicalHeaderKey(string(k.name))
				if k.is == droppedField && !hopByHop(name) && !speaksForOthers(name) && name != "Host" {
					t.Errorf("%s is dropped", name)
				}
			}
		}
	}
	for _, list := range passedAnswerFields {
		for _, known := range list {
			for _, k := range known {
				if name := http.CanonicalHeaderKey(string(k.name)); k.is == droppedField && !hopByHop(name) {
					t.Errorf("%s of an answer is dropped", name)
				}
			}
		}
	}
}
