package run

import (
	"os"
	"path/filepath"
	"regexp"

	"github.com/caddyserver/caddy/v2"
)

var fleetName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,62}$`)

func isFleetName(name string) bool { return fleetName.MatchString(name) }

// fleetMember returns the name of this proxy in its fleet.
func (o *options) fleetMember() string {
	if o.fleetName != "" {
		return o.fleetName
	}
	name, _ := os.Hostname() // one that is empty is refused
	return name
}

// fleetDirectory returns the directory for what this proxy keeps by itself.
func (o *options) fleetDirectory() string {
	if o.fleetDir != "" {
		return o.fleetDir
	}
	return filepath.Join(caddy.AppDataDir(), "parachute-fleet", o.fleetMember())
}
