package nats

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"github.com/nats-io/nats.go"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/fleet"
)

// openInbox returns where this proxy takes acknowledgements, and begins to take them if it does not yet.
func (b *store) openInbox(c *connection) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.inbox == nil {
		inbox, err := c.nc.Subscribe(c.nc.NewInbox(), b.takeAck)
		if err != nil {
			return "", err
		}
		b.inbox = inbox
	}
	return b.inbox.Subject, nil
}

// takeAck takes an acknowledgement, and answers that it has come.
func (b *store) takeAck(m *nats.Msg) {
	var a fleet.Ack
	if json.Unmarshal(m.Data, &a) != nil {
		return
	}
	b.mu.Lock()
	if b.awaited[a.Plan] { // else nobody waits for it any more
		if b.acks[a.Plan] == nil {
			b.acks[a.Plan] = make(map[string]fleet.Ack)
		}
		b.acks[a.Plan][a.Step.Proxy] = a
	}
	b.mu.Unlock()
	_ = m.Respond(nil) // who gets no answer says it again
	notify(b.acked)
}

// Ack implements [fleet.Store]. It returns once the proxy that has proposed the plan has the acknowledgement.
func (b *store) Ack(ctx context.Context, a fleet.Ack) error {
	c, err := b.connect(ctx)
	if err != nil {
		return err
	}
	inbox := b.inboxOf(a.Plan)
	if inbox == "" {
		if _, err := b.read(ctx, c); err != nil {
			return err
		}
		if inbox = b.inboxOf(a.Plan); inbox == "" {
			return nil // the plan is over: nobody waits for it
		}
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err = c.nc.RequestWithContext(ctx, inbox, marshal(a))
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err == nil && a.Step.Phase == api.FleetApplied:
		b.applied[a.Plan] = inbox
	case err == nil:
		delete(b.applied, a.Plan)
	}
	if !errors.Is(err, nats.ErrNoResponders) {
		return explain(err)
	}
	// Whoever has proposed it is gone.
	delete(b.applied, a.Plan)
	if !slices.ContainsFunc(b.last.Plans, func(p fleet.Plan) bool { return p.ID == a.Plan }) {
		return nil
	}
	return errCoordinator
}

// errCoordinator means that a proxy that has proposed a plan is not there to be told of it.
var errCoordinator = errors.New("the proxy that coordinates the change is not connected to NATS")

// inboxOf returns where a plan is acknowledged; nothing if there is no such plan.
func (b *store) inboxOf(plan string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return cmp.Or(b.last.inboxes[plan], b.applied[plan])
}

// Acked implements [fleet.Store].
func (b *store) Acked() <-chan struct{} { return b.acked }

// Acks implements [fleet.Store].
func (b *store) Acks(_ context.Context, plan string) ([]fleet.Ack, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Values(b.acks[plan])), nil
}
