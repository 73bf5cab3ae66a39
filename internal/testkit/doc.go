// Package testkit is what the tests of several packages share: applications to forward
// to, WebSocket frames, and waiting that is bounded. Only tests import it.
package testkit
