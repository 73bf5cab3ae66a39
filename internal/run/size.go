package run

import (
	"fmt"

	"github.com/dustin/go-humanize"
)

// size is a number of bytes, as in 64KiB. It implements pflag.Value.
type size int64

func (s *size) String() string { return humanize.IBytes(uint64(*s)) }

// Set implements pflag.Value.
func (s *size) Set(text string) error {
	n, err := humanize.ParseBytes(text)
	if err != nil || n > 1<<40 {
		return fmt.Errorf("%q is not a size, such as 64KiB", text)
	}
	*s = size(n)
	return nil
}

// Type implements pflag.Value.
func (s *size) Type() string { return "size" }
