//go:build race

package rig

// raceEnabled says that this program was built with the race detector; what it
// builds then is, too.
const raceEnabled = true
