package run

import (
	"fmt"
	"testing"
)

// On a terminal, what Caddy says at each start is left out; what it warns of, and what it
// tells of requests and certificates, is not.
func TestLogsOnATerminalAreWhatPeopleRead(t *testing.T) {
	var o options
	for name, want := range map[string][2]any{"default": {"INFO", nil}, "parachute_warnings": {"WARN", startNoise}, "parachute_quiet": {"WARN", startNoiseOnly}, "parachute_news": {"INFO", news}} {
		log, _ := o.logsOn(true)[name].(object)
		if log["level"] != want[0] || want[1] != nil && fmt.Sprint(log["include"]) != fmt.Sprint(want[1]) {
			t.Errorf("%s: %v, want %v", name, log, want)
		}
	}
	o.configFile = "Caddyfile"
	for _, all := range []object{o.logsOn(true), new(options).logsOn(false)} {
		if len(all) != 2 {
			t.Errorf("the logs are %v, want all of it in the default log", all)
		}
	}
}
