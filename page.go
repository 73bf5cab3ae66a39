package parachute

import (
	"fmt"
	"io"
	"net/http"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/errorpage"
)

// writePage answers with a page: that of the service, of which own has those that there are, for
// whoever takes HTML; else the built-in one, for whoever names HTML among what it accepts, as
// browsers do; else a line of text.
func (h *Handler) writePage(w http.ResponseWriter, r *http.Request, own *errorpage.Set, page errorpage.Page) {
	header, html := w.Header(), errorpage.PreferenceOf(r.Header)
	header.Set("X-Content-Type-Options", "nosniff")
	if html >= errorpage.Accepts && h.writeOwnPage(w, own, page) {
		return
	}
	if html == errorpage.Wants {
		header.Set("Content-Type", "text/html; charset=utf-8")
		header.Set("Content-Security-Policy", errorpage.BuiltInPolicy)
		w.WriteHeader(page.Status)
		_, _ = w.Write(errorpage.BuiltIn(page))
		return
	}
	header.Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(page.Status)
	if page.Message != "" {
		_, _ = io.WriteString(w, page.Message+"\n") // the operator speaks, and not the proxy
		return
	}
	_, _ = fmt.Fprintf(w, "parachute: %s (%d)\n", page.Reason, page.Status)
}

// writeOwnPage answers with a page of the service, and reports whether there is one.
func (h *Handler) writeOwnPage(w http.ResponseWriter, own *errorpage.Set, page errorpage.Page) bool {
	body, err := own.Render(page)
	if err != nil {
		h.logger.Warn("an error page of the service cannot be made", zap.Error(err))
	}
	if body == nil {
		return false
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(page.Status)
	_, _ = w.Write(body)
	return true
}
