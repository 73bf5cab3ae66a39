package run

import (
	"os"
	"slices"

	"golang.org/x/term"
)

// startNoise are the loggers of Caddy's that tell of every start what is the same at each.
// What they warn of is news.
var startNoise = []any{"http", "tls"}

// startNoiseOnly are loggers that tell of nothing else.
var startNoiseOnly = []any{"pki", "parachute.certificates.maintenance"}

// news are the loggers below startNoise that tell of what happens.
var news = []any{"http.handlers", "http.log.access", "tls.handshake", "tls.issuance", "tls.obtain", "tls.on_demand", "tls.renew"}

// StderrIsTerminal reports whether somebody reads the log as it is written.
func StderrIsTerminal() bool { return term.IsTerminal(int(os.Stderr.Fd())) }

// logs returns the logs of the process: JSON on standard error, or what people read on a
// terminal. They never wait for whoever reads them. Calls of the API are logged when they
// fail, unless the log is to be detailed: every list would be a line.
func (o *options) logs() object { return o.logsOn(StderrIsTerminal()) }

// logsOn is logs for standard error that is a terminal, or is none. A person at a terminal
// who has no config of their own to look for is spared the noise of the start.
func (o *options) logsOn(terminal bool) object {
	format := "json"
	switch {
	case o.compat != nil && o.compat.LogFormat != "":
		format, terminal = o.compat.LogFormat, false
	case terminal:
		format = "console"
	}
	log := func(level string) object {
		return object{
			"level":   level,
			"writer":  object{"output": "parachute_stderr"},
			"encoder": object{"format": format},
		}
	}
	if o.debug {
		return object{"default": log("DEBUG")}
	}
	main, api := log("INFO"), log("WARN")
	main["exclude"], api["include"] = []any{"admin.api"}, []any{"admin.api"}
	all := object{"default": main, "parachute_api": api}
	if terminal && o.configFile == "" {
		// Caddy has no log with parts that are left out from some of its loggers only.
		warnings, quiet, told := log("WARN"), log("WARN"), log("INFO")
		main["exclude"] = slices.Concat([]any{"admin.api"}, startNoise, startNoiseOnly)
		warnings["include"], warnings["exclude"] = startNoise, news
		quiet["include"], told["include"] = startNoiseOnly, news
		all["parachute_warnings"], all["parachute_quiet"], all["parachute_news"] = warnings, quiet, told
	}
	return all
}
