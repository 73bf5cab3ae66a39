//go:build !linux

package sockio

import (
	"errors"
	"time"
)

// Poller is not there: what it is for waits in goroutines here.
type Poller struct{}

// NewPoller fails with [errors.ErrUnsupported] here.
func NewPoller() (*Poller, error) { return nil, errors.ErrUnsupported }

// Watch cannot be called here.
func (*Poller) Watch(int, bool) error { return errors.ErrUnsupported }

// Wait cannot be called here.
func (*Poller) Wait(func(int)) error { return errors.ErrUnsupported }

// WakeAt cannot be called here.
func (*Poller) WakeAt(time.Time) {}
