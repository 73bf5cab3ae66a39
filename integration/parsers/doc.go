// Package parsers holds what our parser makes of requests against what parsers of other projects make of
// them. It is a module of its own, so that those are in no build of the proxy.
package parsers
