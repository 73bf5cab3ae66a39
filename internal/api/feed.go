package api

// FeedStart stands for the oldest event that the feed remembers.
const FeedStart = "start"

// FeedEvent is an [Event] in the feed of everything that happens to services.
type FeedEvent struct {
	// ID is its place in the feed. It says nothing by itself: it is where to go on from.
	ID   string `json:"id"`
	Data Event  `json:"data"`
}
