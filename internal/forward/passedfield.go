package forward

import (
	"bytes"
	"strings"
)

// passedField says what becomes of a field when a message is passed through.
type passedField uint8

const (
	// ordinaryField is passed on.
	ordinaryField passedField = iota
	// droppedField is about the connection, or says something that the sender is not believed.
	droppedField
	// connectionField is Connection.
	connectionField
	// otherField makes the request one that is not passed through.
	otherField
	// What follows is noted of an answer.
	keepAliveField
	dateField
	serverField
	lengthField
	typeField
)

// maxFieldName is the length of the longest name that a fieldSet has, and one more.
const maxFieldName = 24

// fieldSet tells of a few names what becomes of their fields. All others are ordinary.
type fieldSet [maxFieldName][32][]knownField

// knownField is a name in lower case.
type knownField struct {
	name []byte
	is   passedField
}

// of says what becomes of a field. Of most names, their length and first letter tell that no known one is
// like them.
func (s *fieldSet) of(name []byte) passedField {
	if len(name) >= maxFieldName {
		return ordinaryField
	}
	for _, known := range s[len(name)][name[0]&31] {
		if bytes.EqualFold(name, known.name) {
			return known.is
		}
	}
	return ordinaryField
}

func newFieldSet(names map[passedField]string) *fieldSet {
	s := new(fieldSet)
	for is, list := range names {
		for name := range strings.FieldsSeq(strings.ToLower(list)) {
			at := &s[len(name)][name[0]&31]
			*at = append(*at, knownField{[]byte(name), is})
		}
	}
	return s
}

// passedRequestFields has what a request is looked at for: what hopByHop and speaksForOthers have, what describe
// sets unless the sender has, and what means something to the proxy.
var passedRequestFields = newFieldSet(map[passedField]string{
	droppedField: "Host Keep-Alive Proxy-Connection Proxy-Authenticate Proxy-Authorization " +
		"Forwarded X-Forwarded-For X-Forwarded-Host X-Forwarded-Port X-Forwarded-Prefix X-Forwarded-Proto " +
		"X-Forwarded-Scheme X-Forwarded-Server X-Forwarded-Ssl X-Real-Ip",
	connectionField: "Connection",
	otherField:      "Te Trailer Transfer-Encoding Upgrade Content-Length Expect Pragma X-Request-Id X-Request-Start " + probeHeader,
})

// passedAnswerFields has what an answer is looked at for, but for what [http1.Response] refuses.
var passedAnswerFields = newFieldSet(map[passedField]string{
	droppedField:   "Connection Proxy-Connection Proxy-Authenticate Proxy-Authorization Te",
	keepAliveField: "Keep-Alive",
	dateField:      "Date",
	serverField:    "Server",
	lengthField:    "Content-Length",
	typeField:      "Content-Type",
})

// isPersistence reports whether a value of Connection says whether the connection persists, and nothing
// else: it names no field that is not to be passed on (RFC 9112, section 9.3).
func isPersistence(value []byte) bool {
	return bytes.EqualFold(value, []byte("keep-alive")) || bytes.EqualFold(value, []byte("close"))
}

// hasSecondName reports whether a field may be a second name for another one (see ambiguous).
func hasSecondName(name []byte) bool {
	return bytes.IndexByte(name, '_') >= 0 || bytes.IndexByte(name, '.') >= 0
}
