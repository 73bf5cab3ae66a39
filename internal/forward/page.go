package forward

import (
	"context"
	"net/http"
	"net/url"
)

// Page returns what a request of the proxy's own to a path of r's application needs: a
// transport to one of its targets, which keeps no connection, the URL, and the Host
// header. The request has to be counted with [Release.Acquire].
func (r *Release) Page(path string) (tr *http.Transport, u *url.URL, host string, err error) {
	usable := r.usable()[0]
	target := usable.target
	if u, err = target.URL(path); err != nil {
		return nil, nil, "", err
	}
	tr = newHTTPTransport(target, usable.dial, r.targetTLS(target))
	tr.DisableKeepAlives = true
	return tr, u, r.probeHost(target), nil
}

// WithCut returns a context that also ends when the requests of r are cut. cancel has to
// be called.
func (r *Release) WithCut(ctx context.Context) (cut context.Context, cancel func()) {
	ctx, end := context.WithCancel(ctx)
	stop := context.AfterFunc(&r.cut, end)
	return ctx, func() {
		stop()
		end()
	}
}
