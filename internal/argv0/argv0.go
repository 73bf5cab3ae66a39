// Package argv0 says who the program was called as. One binary is three programs:
// parachute, the Caddy that parachute is a plugin of, and kamal-proxy, whose command line it has.
//
// It imports next to nothing, because internal/extendedconnect has to be initialised
// before net/http and needs the answer.
package argv0

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Program is who the binary was called as.
type Program string

// The programs in the binary.
const (
	Parachute  Program = "parachute"
	Caddy      Program = "caddy"
	KamalProxy Program = "kamal-proxy"
)

// A process is called once. The answers must not change when Replace does its work.
var (
	program, arguments = Parse(os.Args)
	original           = slices.Clone(os.Args)
)

// Original returns the arguments that the process was started with, its name included.
func Original() []string { return slices.Clone(original) }

// Called returns who this process was called as, and the arguments of that program.
func Called() (Program, []string) { return program, slices.Clone(arguments) }

// Parse returns who args, which begin with the name of the binary's file, call, and the
// arguments of that program. It is Caddy if the file is named caddy, also with a version
// or a platform behind that, or if the first argument is caddy. It is kamal-proxy
// if the file is named so. It is parachute otherwise, so a copy with any other name does what its original does.
func Parse(args []string) (Program, []string) {
	if len(args) == 0 {
		return Parachute, nil
	}
	rest := args[1:]
	switch {
	case isCaddy(args[0]):
		return Caddy, rest
	case strings.TrimSuffix(filepath.Base(args[0]), ".exe") == string(KamalProxy):
		return KamalProxy, rest
	case begins(rest, "caddy"):
		return Caddy, rest[1:]
	case begins(rest, "__complete", "caddy"), begins(rest, "__completeNoDesc", "caddy"):
		// The shell asks how to go on with a command line of Caddy's.
		return Caddy, slices.Delete(slices.Clone(rest), 1, 2)
	case begins(rest, "run", "--pingback"):
		// `caddy start` runs its own file again in this way, whatever it is called.
		return Caddy, rest
	}
	return Parachute, rest
}

// isCaddy reports whether a file has Caddy's name, such as caddy.exe, caddy-v2.11.9 or
// caddy_linux_amd64.
func isCaddy(path string) bool {
	rest, ok := strings.CutPrefix(filepath.Base(path), "caddy")
	return ok && (rest == "" || strings.ContainsAny(rest[:1], "-_."))
}

func begins(args []string, with ...string) bool {
	return len(args) >= len(with) && slices.Equal(args[:len(with)], with)
}

// Replace sets the arguments that Caddy's command line is about to read.
func Replace(args ...string) {
	os.Args = append([]string{os.Args[0]}, args...)
}
