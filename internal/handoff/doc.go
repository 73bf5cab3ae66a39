// Package handoff has a new process of the proxy take the place of the one that runs, while
// clients notice nothing. It knows nothing of services, of Caddy, or of who serves what: a
// process is a [Host].
//
//	new                                old
//	 │ hello {protocol, version, pid}   │ refuses another protocol, and a second successor
//	 │◄─────────────────────────────────│ offer {sockets, secrets, followers} + descriptors
//	 │ boots, and accepts nothing       │ goes on as before
//	 │ booted ─────────────────────────►│ ceases to decide (Host.Freeze)
//	 │◄─────────────────────────────────│ frozen {standing}
//	 │ reads what is stored             │
//	 │ ready ──────────────────────────►│ ceases to accept (Host.Release)
//	 │◄─────────────────────────────────│ released
//	 │ decides and accepts              │ follows, for as long as it has clients
//
// Up to "released", the end of the connection has the old process go on as if nothing had
// happened (Host.Thaw): the new one decides and accepts only once it has read that. After it, the
// connection is how the old process is told what to serve and what to drain, and if it ends without a
// "bye", the new process has died: the old one accepts and decides again (Host.TakeBack). The
// sockets are open in both all the time, so that no connection is refused meanwhile.
//
// Messages are lines of JSON on a Unix socket, and descriptors go along as SCM_RIGHTS
// (unix(7)). Only root and the user of the process may connect.
//
// An old process that has followers itself, from an upgrade shortly before, names them in its offer.
// The new one connects to each before it has booted, at a socket that they open when they are released.
// As long as one process is connected to it, an old one follows: the end of another one says nothing.
package handoff
