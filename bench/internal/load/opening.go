package load

import (
	"context"
	"errors"
	"sync"
)

// opening is how many connections are opened at the same time.
const opening = 32

type closer interface{ Close() }

// openAll calls open n times and returns what that has opened. If one cannot be opened, it closes the others.
func openAll[T closer](ctx context.Context, n int, open func() (T, error)) ([]T, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		all    []T
		mu     sync.Mutex // guards all and failed
		failed error
		work   = make(chan struct{})
		users  sync.WaitGroup
	)
	for range min(n, opening) {
		users.Go(func() {
			for range work {
				c, err := open()
				mu.Lock()
				if err != nil {
					failed = errors.Join(failed, err)
					cancel()
				} else {
					all = append(all, c)
				}
				mu.Unlock()
			}
		})
	}
	for range n {
		select {
		case work <- struct{}{}:
		case <-ctx.Done():
		}
	}
	close(work)
	users.Wait()
	if failed == nil {
		failed = ctx.Err()
	}
	if failed != nil {
		closeAll(all)
		return nil, failed
	}
	return all, nil
}

func closeAll[T closer](all []T) {
	for _, c := range all {
		c.Close()
	}
}
