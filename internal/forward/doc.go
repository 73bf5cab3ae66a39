// Package forward is the data plane: releases, and the requests that they carry. It
// knows one target from another, whether they are healthy, and how an exchange or a
// stream ends. It does not know which release a request is for: package proxy does.
//
// # Invariants
//
//  1. A request is counted on a release before a byte of it is sent there, and a
//     release that is draining takes no new ones. [Release.Acquire] is one atomic add;
//     whoever loses the race against the switch looks up again.
//  2. When [Release.Drain] returns, no request, stream, connection or probe of the
//     release is left. What its successor has inherited is that one's.
//  3. What a client sends never changes which targets requests are sent to. Requests that
//     are not answered in time count for the health that is shown.
//
// Locks, in order: Release.streamsMu, upstream.healthMu, stream-local locks. No lock is
// held while taking one further left, over I/O, or over a callback.
package forward
