// Package kamal is the command line of kamal-proxy on top of parachute, and takes over what a
// kamal-proxy has left.
//
// Kamal runs its proxy in a container and calls kamal-proxy in there. A binary of parachute
// that is called by that name has the same commands and flags, exit codes and words
// ([Command]). Each flag becomes a setting of a deploy (deployment.go). What is not the same is
// in docs/KAMAL.md, with the reasons.
package kamal

// Grammar is the version of kamal-proxy whose commands and flags there are.
const Grammar = "0.10.0"
