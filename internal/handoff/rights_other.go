//go:build !unix

package handoff

import (
	"errors"
	"os"
)

// There is nothing that carries descriptors.
const rightsSpace = 0

func rights([]int) []byte { return nil }

func filesIn([]byte) ([]*os.File, error) { return nil, errors.ErrUnsupported }

func duplicate(uintptr) (int, error) { return 0, errors.ErrUnsupported }

func closeDescriptor(int) {}

func closeOnExec(uintptr) {}

func sendMessage(uintptr, []byte, []byte) error { return errors.ErrUnsupported }
