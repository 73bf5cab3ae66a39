// Package apps holds the tests with the application servers that people deploy. Each
// server is started as its manual says, deployed twice, restarted in place and killed,
// all while it is asked 15 times a second.
//
// `make test-apps` runs them with the servers that are installed and prints a table;
// otherwise they are skipped, since they take minutes and what they need is not there
// on every machine.
package apps

import (
	"testing"

	"github.com/parachute-proxy/parachute/integration/rig/rigtest"
)

func TestMain(m *testing.M) { rigtest.Main(m) }

const patience = rigtest.Patience

var (
	must    = rigtest.Must
	waitFor = rigtest.WaitFor
)
