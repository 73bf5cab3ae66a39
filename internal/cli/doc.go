// Package cli is parachute's command line but for the commands run and deploy, which the
// root package hands to [Describe]. A command is a file with its name. All of them find
// the proxy by [ClientFor], take their flags from the environment, too, and fail by
// [Exit], with the message, the hint and the exit code that belong to the error.
package cli
