package run

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

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

// leftBehind returns the directory of services that this proxy has had by itself, and does not bring into its fleet; empty if there
// are none, or if it has some of the fleet.
func (o *options) leftBehind() string {
	services := func(root string) bool {
		entries, _ := os.ReadDir(filepath.Join(root, "parachute", "services"))
		return len(entries) > 0
	}
	if o.fleet == "" || services(o.fleetDirectory()) || !services(o.storageDir()) {
		return ""
	}
	return o.storageDir()
}

// formerStorage returns the directory of the certificates that this proxy has had by itself.
func (o *options) formerStorage() string {
	if info, err := os.Stat(filepath.Join(o.fleetDirectory(), "certificates")); err == nil && info.IsDir() {
		return o.fleetDirectory()
	}
	return o.storageDir()
}

// fleetModules are the modules of Caddy's namespace parachute.fleet that an address of --fleet means,
// by its scheme. None of them is part of this module: they are built in with xcaddy.
var fleetModules = map[string]string{"nats": "nats", "tls": "nats"}

// fleetModule returns the module that --fleet means; none for the shared storage.
func (o *options) fleetModule() string {
	scheme, _, ok := strings.Cut(o.fleet, "://")
	if !ok {
		return ""
	}
	return fleetModules[scheme]
}

func (o *options) validateFleet() error {
	module := o.fleetModule()
	switch {
	case o.fleet == "" && (o.fleetName != "" || o.fleetDir != "" || o.fleetServer != "" || o.fleetSecret != ""):
		return errors.New("--fleet-name, --fleet-dir, --fleet-server and --fleet-secret-file need --fleet")
	case o.fleet == "":
		return nil
	case o.fleet != "storage" && module == "":
		return errors.New("unknown --fleet; use storage, or an address that begins with nats:// or tls://") // there may be a password in it
	case module == "" && (o.fleetServer != "" || o.fleetSecret != ""):
		return errors.New("--fleet-server and --fleet-secret-file need --fleet with the addresses of the servers, such as nats://10.0.0.1,10.0.0.2,10.0.0.3")
	case o.fleetServer != "" && o.fleetSecret == "":
		return errors.New("--fleet-server needs --fleet-secret-file: whoever reaches the server could change what all proxies serve")
	case o.takeover:
		return errors.New("--takeover does not go with --fleet: proxies of a fleet are restarted one after the other")
	case !isFleetName(o.fleetMember()):
		return fmt.Errorf("--fleet-name %q is not a name; use up to 63 letters, digits, dots and hyphens", o.fleetMember())
	}
	if module == "" {
		return nil
	}
	if _, err := caddy.GetModule("parachute.fleet." + module); err != nil {
		return fmt.Errorf("this program has no fleet on %s built in; build one that has: xcaddy build --with github.com/parachute-proxy/parachute/%s --output parachute", strings.ToUpper(module), module)
	}
	return nil
}

// fleetObject returns the fleet as the app has it.
func (o *options) fleetObject() object {
	fleet := object{"name": o.fleetMember(), "dir": absolute(o.fleetDirectory()), "missing_after": o.fleetMissing.String()}
	if module := o.fleetModule(); module != "" {
		fleet["store"] = o.fleetConnection(module)
	}
	return fleet
}

// fleetConnection returns how a module of the fleet reaches what the proxies meet in.
func (o *options) fleetConnection(module string) object {
	connection := object{"module": module, "url": o.fleet}
	if o.fleetServer != "" {
		connection["server"] = o.fleetServer
	}
	if o.fleetSecret != "" {
		connection["secret_file"] = absolute(o.fleetSecret)
	}
	return connection
}

// fleetStorage returns the storage for certificates that comes with what the proxies meet in; nil if that has
// none. A storage of the user's takes its place.
func (o *options) fleetStorage() object {
	module := o.fleetModule()
	if module == "" {
		return nil
	}
	storage := o.fleetConnection("parachute_" + module)
	storage["name"], storage["dir"], storage["local"] = o.fleetMember(), absolute(o.fleetDirectory()), absolute(o.formerStorage())
	return storage
}
