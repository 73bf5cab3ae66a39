//go:build race

package rig

// RaceEnabled says that this program was built with the race detector; what it
// builds then is, too.
const RaceEnabled = true
