package parachute

import (
	"io"

	"github.com/caddyserver/caddy/v2"

	"github.com/parachute-proxy/parachute/internal/run"
)

// StderrWriter writes logs to standard error without ever waiting for its
// reader. When the reader falls behind by a mebibyte, lines are dropped and
// counted: a log sink that blocks must not block traffic.
type StderrWriter struct{}

// CaddyModule returns the Caddy module information.
func (StderrWriter) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.logging.writers.parachute_stderr", New: func() caddy.Module { return new(StderrWriter) }}
}

func (StderrWriter) String() string { return "stderr (lines are dropped when it blocks)" }

// WriterKey implements caddy.WriterOpener. On a terminal it is that of Caddy's own writer:
// with another one, Caddy tells the reader that the log has moved.
func (StderrWriter) WriterKey() string {
	if run.StderrIsTerminal() {
		return caddy.StderrWriter{}.WriterKey()
	}
	return "parachute:stderr"
}

// OpenWriter implements caddy.WriterOpener. All openers share one writer, which
// lives as long as the process.
func (StderrWriter) OpenWriter() (io.WriteCloser, error) { return run.Stderr(), nil }
