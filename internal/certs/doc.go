// Package certs gets the certificates of deployed hosts by Caddy's issuers and keeps them
// valid. [Manager] is the engine's proxy.Certifier; like the engine, it outlives reloads,
// each of which brings it a new [CaddyConfig] to work with. It answers TLS handshakes for
// deployed hosts.
package certs
