// Package version knows which parachute this is.
package version

import "runtime/debug"

// modulePath is where Go's build information finds us.
const modulePath = "github.com/parachute-proxy/parachute"

// version is set by the linker when the program is built by `make`.
var version string

// Version returns parachute's version, such as "v1.2.3", or "dev" if it is not known.
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range append(info.Deps, &info.Main) {
			if m.Path == modulePath && m.Version != "" && m.Version != "(devel)" && m.Version != "v0.0.0" {
				return m.Version
			}
		}
	}
	return "dev"
}
