// Package boundary finds the places at which a stream of bytes can be ended without
// tearing a message apart: between WebSocket frames, server-sent events and gRPC
// messages. It only looks at bytes: it reads and writes nothing itself.
package boundary
