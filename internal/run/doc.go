// Package run is the command `parachute run`: it turns flags, and a config file of the
// user's if there is one, into a Caddy config, and starts Caddy with it.
package run
