package testkit

// watchedConnection is a [ClientConnection] that a test decides about.
type watchedConnection struct {
	Watched chan func()   // has what tells that the client has gone
	Stopped chan struct{} // is closed when the watch is over
}

func NewWatchedConnection() *watchedConnection {
	return &watchedConnection{Watched: make(chan func(), 10), Stopped: make(chan struct{})}
}

func (c *watchedConnection) OnGone(gone func()) (stop func()) {
	c.Watched <- gone
	return func() { close(c.Stopped) }
}
