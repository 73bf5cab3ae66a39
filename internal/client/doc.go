// Package client calls the JSON API of a running proxy, over its admin endpoint. [New]
// finds the proxy; the requests, results and errors are those of the package api.
package client
