package proxy

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// maxFeed is how many events the feed remembers. A reader that falls further behind is told
// that it has missed some: nobody who publishes waits for readers.
const maxFeed = 1000

// feed is what has happened to services lately. Whoever publishes an event appends it and
// goes on; readers come for them in their own time.
type feed struct {
	// instance tells the events of this engine from those of one before it, whose places
	// in the feed began anew.
	instance string
	// follows says that another process decides, and watches the same targets.
	follows atomic.Bool

	// mu guards what follows. It is taken while other locks are held, and no other is
	// taken under it.
	mu sync.Mutex
	// next is the number of the next event. The first is 1.
	next uint64
	// events are the last ones, the oldest first.
	events []api.Event
	// more is closed, and replaced, when events has grown.
	more chan struct{}
}

func newFeed() *feed {
	return &feed{instance: strings.ToLower(rand.Text()[:8]), next: 1, more: make(chan struct{})}
}

// publish adds an event. What a deployment is told of every failing probe, and of a drain
// or a watch every second, is for whoever waits for it alone.
func (f *feed) publish(ev api.Event) {
	if ev.Kind == api.EventProbeFailed || ev.Kind == api.EventJudged || ev.Kind == api.EventDraining && ev.DrainTimeout == nil {
		return
	}
	if ev.Time.IsZero() {
		ev.Time = time.Now().UTC()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = append(f.events, ev)
	if n := len(f.events); n >= 2*maxFeed {
		f.events = slices.Clone(f.events[n-maxFeed:])
	}
	f.next++
	close(f.more)
	f.more = make(chan struct{})
}

// FeedReader reads the feed of an engine. It is for one goroutine.
type FeedReader struct {
	feed *feed
	// next is the number of the next event to be read.
	next uint64
	// missed says that there were events before that, which are forgotten.
	missed bool
	// stopped is closed when the engine stops.
	stopped <-chan struct{}
}

// oldest returns the number of the oldest event that is remembered. mu must be held.
func (f *feed) oldest() uint64 { return f.next - uint64(min(len(f.events), maxFeed)) }

// Next returns the events that have come, at least one. If the reader has missed some, the
// first says so. It returns an error when ctx has ended, or [ErrRetired] when the engine stops.
func (r *FeedReader) Next(ctx context.Context) ([]api.FeedEvent, error) {
	for {
		events, more := r.pending()
		if len(events) > 0 {
			return events, nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-r.stopped:
			if events, _ := r.pending(); len(events) > 0 {
				return events, nil
			}
			return nil, ErrRetired
		}
	}
}

// pending returns the events that have not been read, and what is closed when there are more.
func (r *FeedReader) pending() (all []api.FeedEvent, more <-chan struct{}) {
	f := r.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	oldest := f.oldest()
	if r.next < oldest {
		r.next, r.missed = oldest, true
	}
	if r.missed && r.next < f.next {
		r.missed = false
		all = append(all, api.FeedEvent{ID: f.id(r.next - 1), Data: api.Event{Kind: api.EventGap, Time: time.Now().UTC()}})
	}
	for _, ev := range f.events[len(f.events)-int(f.next-r.next):] {
		all = append(all, api.FeedEvent{ID: f.id(r.next), Data: ev})
		r.next++
	}
	return all, f.more
}

// id returns the id of the event with a number.
func (f *feed) id(n uint64) string { return fmt.Sprintf("%s-%d", f.instance, n) }
