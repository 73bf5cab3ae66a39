// Package real has the real Kamal, from its public sources, drive the image parachute-kamal over
// SSH on loopback: see README.md.
package real

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/parachute-proxy/parachute/integration/rig/rigtest"
)

// The test runs in three processes: the first prepares the folder, the second is the first
// process of new namespaces, and the third does the work in them. The variables tell the
// latter two what they are.
const (
	stageVariable  = "PARACHUTE_KAMAL_STAGE"
	folderVariable = "PARACHUTE_KAMAL_FOLDER"
	stageFirst     = "first process"
	stageWork      = "work"
)

func TestMain(m *testing.M) {
	if os.Getenv(stageVariable) == stageFirst {
		os.Exit(firstProcess())
	}
	rigtest.Main(m)
}

// firstProcess prepares new namespaces and runs the work in them. It also reaps the
// processes whose parents have ended, as the first process of a PID namespace has to. When
// it ends, so does everything in the namespaces.
func firstProcess() int {
	if err := isolate(os.Getenv(folderVariable)); err != nil {
		fmt.Println("preparing the namespaces:", err)
		return 1
	}
	work := exec.Command(os.Args[0], os.Args[1:]...)
	work.Stdout, work.Stderr = os.Stdout, os.Stderr
	work.Env = append(os.Environ(), stageVariable+"="+stageWork)
	if err := work.Start(); err != nil {
		fmt.Println(err)
		return 1
	}
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			fmt.Println("waiting for the test:", err)
			return 1
		case pid == work.Process.Pid:
			return status.ExitStatus()
		}
	}
}
