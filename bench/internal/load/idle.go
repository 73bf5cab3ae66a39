package load

import "context"

// Idle are connections that are kept alive and wait for a request.
type Idle struct {
	open    []*client
	request Request
}

// OpenIdle opens n connections and makes one request over each.
func OpenIdle(ctx context.Context, server Server, n int, request Request) (*Idle, error) {
	all, err := openAll(ctx, n, func() (*client, error) {
		c, err := dial(server)
		if err != nil {
			return nil, err
		}
		if _, err := c.exchange(request.Bytes(), request.WantLength); err != nil {
			c.Close()
			return nil, err
		}
		return c, nil
	})
	return &Idle{all, request}, err
}

// Check makes one more request over each, and fails if one of them is not answered.
func (i *Idle) Check() error {
	for _, c := range i.open {
		if _, err := c.exchange(i.request.Bytes(), i.request.WantLength); err != nil {
			return err
		}
	}
	return nil
}

// Close closes all of them.
func (i *Idle) Close() { closeAll(i.open) }
