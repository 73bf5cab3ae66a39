package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/parachute-proxy/parachute/bench/internal/peer"
)

// logDelay is how long a line may stay in a proxy's buffer.
const logDelay = 100 * time.Millisecond

// logged checks after a measurement that the proxy has logged every request: one
// that has not would win for the wrong reason.
func logged(m measure) measure {
	return func(ctx context.Context, e *Environment, p *peer.Proxy) (Sample, error) {
		before, _, err := linesFrom(p.AccessLog, 0)
		if err != nil {
			return Sample{}, err
		}
		sample, err := m(ctx, e, p)
		if err != nil {
			return sample, err
		}
		sleep(ctx, logDelay)
		_, lines, err := linesFrom(p.AccessLog, before)
		if err != nil {
			return sample, err
		}
		// Requests before and after the window of the measurement are logged, too.
		if lines < sample.Requests {
			sample.Errors++
			sample.Error = fmt.Sprintf("the access log has %d new lines after %d requests", lines, sample.Requests)
		}
		return sample, ctx.Err()
	}
}

// linesFrom counts the line ends in a file from an offset on, and returns the size
// of the file in bytes. A file that does not exist is empty.
func linesFrom(path string, offset int64) (size, lines int64, err error) {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, 0, nil
	} else if err != nil {
		return 0, 0, fmt.Errorf("reading an access log: %w", err)
	}
	defer file.Close()
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return 0, 0, fmt.Errorf("reading an access log: %w", err)
	}
	buf := make([]byte, 256<<10)
	for size = offset; ; {
		n, err := file.Read(buf)
		size += int64(n)
		lines += int64(bytes.Count(buf[:n], []byte{'\n'}))
		if err == io.EOF {
			return size, lines, nil
		} else if err != nil {
			return size, lines, fmt.Errorf("reading an access log: %w", err)
		}
	}
}
