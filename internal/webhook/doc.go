// Package webhook tells other programs what happens to services: each event is a request
// to every endpoint, in the form of CloudEvents 1.0 (structured JSON) and signed as Standard
// Webhooks 1.0 has it (github.com/standard-webhooks/standard-webhooks).
//
// Nothing waits for an endpoint: one that is slow or gone costs its own messages. A message
// that an endpoint does not take with a status from 200 to 299 is sent again some times, with
// the same id, so that a receiver can tell that it has it already. Messages can overtake each
// other.
package webhook
