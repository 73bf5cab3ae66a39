package forward

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/parachute-proxy/parachute/internal/api"
)

// maxAnswer bounds what a probe reads of an answer, in bytes.
const maxAnswer = 64 << 10

// maxQuoted bounds what a failure quotes of an answer, in bytes.
const maxQuoted = 60

// readAnswer looks for the text that the answer of a target that is ready contains. Without
// one, it only reads a little, so that an app that answers in full is not cut short.
func (p *prober) readAnswer(ctx context.Context, resp *http.Response) probeResult {
	if p.body == "" {
		_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer)
		return probeResult{}
	}
	found, read, err := contains(io.LimitReader(resp.Body, maxAnswer), p.body)
	kind := fmt.Sprintf("%s without %q in the answer", statusText(resp), p.body)
	switch {
	case found:
		return probeResult{}
	case context.Cause(ctx) == errProbeTimeout || isTimeout(err):
		return probeResult{reason: fmt.Sprintf("no answer within %s that contains %q", p.timeout, p.body)}
	case err != nil:
		return probeResult{reason: "the answer broke off: " + DialReason(err)}
	case len(read) == 0:
		return probeResult{reason: kind + ", which is empty", kind: kind}
	case len(read) == maxAnswer:
		return probeResult{reason: fmt.Sprintf("%s, of which 64 KiB were read: %q", kind, beginning(read)), kind: kind}
	}
	return probeResult{reason: fmt.Sprintf("%s: %q", kind, beginning(read)), kind: kind}
}

// contains reads r until text was in it, and returns what was read. An answer that goes on
// without an end is not waited for.
func contains(r io.Reader, text string) (found bool, read []byte, err error) {
	buf := make([]byte, 4096)
	for {
		n, err := r.Read(buf)
		// The text may have begun in what was read before.
		from := max(0, len(read)-len(text)+1)
		read = append(read, buf[:n]...)
		switch {
		case bytes.Contains(read[from:], []byte(text)):
			return true, read, nil
		case err == io.EOF:
			return false, read, nil
		case err != nil:
			return false, read, err
		}
	}
}

// beginning returns the beginning of an answer in one line.
func beginning(answer []byte) string {
	short := answer[:min(len(answer), maxQuoted)]
	return api.PrintableUpTo(string(bytes.ToValidUTF8(bytes.Join(bytes.Fields(short), []byte(" ")), []byte("?"))), maxQuoted)
}

func statusText(resp *http.Response) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode)))
}
