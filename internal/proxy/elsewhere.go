package proxy

import (
	"context"
	"fmt"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

const (
	// lookPause is how often is looked what has become of a rollout that another process has.
	lookPause = 100 * time.Millisecond
	// outcomeLooks is how often is looked for the reason why a release has left, which is stored
	// after it has.
	outcomeLooks = 20
)

// tryElsewhere waits until the release is trusted, has left again, or waits for somebody to decide,
// as the process has decided that has taken over from this one.
func (o *operation) tryElsewhere() error {
	tick := time.NewTicker(lookPause)
	defer tick.Stop()
	for looks := 0; ; {
		left, over, err := o.lookElsewhere()
		if left {
			looks++
		}
		if over || looks > outcomeLooks {
			return err
		}
		select {
		case <-tick.C:
		case <-o.e.stopped:
			name := o.svc.name
			err := &api.Error{Code: api.CodeUndecided, Message: fmt.Sprintf("this process of the proxy stops; the rollout of %s v%d goes on in another one", name, o.next.Version)}
			return err.WithHint("wait for it: %s", api.Operation("wait "+api.ShellWord(name)))
		}
	}
}

// lookElsewhere returns what has become of the release: whether it has left, and whether it is known
// how that ends.
func (o *operation) lookElsewhere() (left, over bool, err error) {
	name, version := o.svc.name, o.next.Version
	o.e.mu.Lock()
	l := o.svc.lineup()
	var at position
	goesOn := l != nil && l.rollout != nil && l.rollout.next.Version == version
	if goesOn {
		at = l.rollout.position()
	}
	o.e.mu.Unlock()
	switch {
	case goesOn && !at.waits():
		return false, false, nil
	case goesOn:
		return false, true, l.rollout.outcome()
	case l.activeVersion() == version:
		return false, true, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	for _, p := range o.e.loadHistory(ctx, name).Releases {
		if p.Release == version && p.Outcome != "" {
			return true, true, &api.Error{Code: api.CodeReverted, Message: fmt.Sprintf("%s v%d was taken back: %s; v%d serves all", name, version, p.Reason, l.activeVersion())}
		}
	}
	return true, false, &api.Error{Code: api.CodeSuperseded, Message: fmt.Sprintf("%s v%d has left: another release took its place", name, version)}
}
