package clientconn

import (
	"net/http"
	"strings"
)

// Caddy's server drops header fields with an underscore or a dot in their names before a
// handler gets the request. It has to, for handlers that copy fields for CGI; ours knows
// better which ones are ambiguous. The server has no setting for all of them, only for
// names or beginnings of names.

// hidden is the field that says that there are names to restore. No client can send it, nor
// any of the names below: they have characters that no name has (RFC 9110, section 5.6.2).
const hidden = "hidden names"

var (
	hideName    = strings.NewReplacer("_", " ", ".", ",")
	restoreName = strings.NewReplacer(" ", "_", ",", ".")
)

// HideNames gives the fields that Caddy's server would drop names that it does not.
func HideNames(h http.Header) {
	found := false
	for name, values := range h {
		if hasOddName(name) {
			delete(h, name)
			h[hideName.Replace(name)] = values
			found = true
		}
	}
	if found {
		h[hidden] = nil
	}
}

// RestoreNames undoes HideNames.
func RestoreNames(h http.Header) {
	if _, ok := h[hidden]; !ok {
		return
	}
	delete(h, hidden)
	for name, values := range h {
		if strings.ContainsAny(name, " ,") {
			delete(h, name)
			h[restoreName.Replace(name)] = values
		}
	}
}

// hasOddName is called for each field of each request. Two looks for a byte cost a third of one look
// for any byte of a set.
func hasOddName(name string) bool {
	return strings.IndexByte(name, '_') >= 0 || strings.IndexByte(name, '.') >= 0
}
