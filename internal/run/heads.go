package run

import "maps"

// parseLimit is the size of heads, in bytes, that a server parses at least. Our handler
// answers what is over the limit of --max-header-size. It can do that for one request
// alone; for a head that is not parsed, net/http ends an HTTP/2 connection, with all
// requests on it. 1 MiB is what net/http parses by default.
const parseLimit = 1 << 20

// withHeadLimit returns a copy of our routes with another limit for the head of a request.
func withHeadLimit(routes any, limit int64) []any {
	handler := maps.Clone(routes.([]any)[0].(object)["handle"].([]any)[0].(object))
	handler["max_header_size"] = limit
	return []any{object{"handle": []any{handler}}}
}

// limitHeads has a server parse what our handler, which allows limit, has to answer.
func limitHeads(server object, limit int64) { server["max_header_bytes"] = max(parseLimit, 2*limit) }
