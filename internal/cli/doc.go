// Package cli is parachute's command line but for the commands run and deploy, which the
// root package hands to [Describe]. A command is a file with its name. All of them work
// with an [Env], which has the streams, finds the proxy ([Env.Client]) and has them fail
// ([Env.Exit]) with the message, the hint and the exit code that belong to the error. They
// take their flags from the environment, too.
package cli
