// Package handlers makes what requests for a service pass on their way to a target: handlers of
// Caddy's, from directives of a Caddyfile that are deployed with the service. It is behind
// [proxy.Handlers].
//
// The directives are a part of a site block, and stay one: the tokens are put into a block of
// ours before Caddy's adapter sees them, so that no brace, import, global option or second site
// in them can lead out of it (snippet.go). What the adapter makes of them is looked at once
// more, module by module (allow.go). A compiled chain has a Caddy context of its own, which is
// cancelled when its release has drained, or a reload has made another chain (chain.go).
package handlers
