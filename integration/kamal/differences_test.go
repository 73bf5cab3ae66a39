package kamal

// differences are those between kamal-proxy 0.9.2 and parachute that are meant. docs/KAMAL.md has them
// for people.
var differences = []difference{
	{"", "answer Server", "", "Caddy", "parachute is a plugin of Caddy, which says so unless the application does"},
	{"", "app Accept-Encoding", "gzip", "", "kamal-proxy asks for gzip in the place of the client, and unpacks the answer; parachute asks for what the client asks for"},
	{"", "app X-Forwarded-Prefix", "", "*", "the application can make links that lead back to it"},

	// Paths.
	{`/%2Fy|/%61$`, "app uri", "*", "*", "an application gets the path as it was sent, less the prefix; kamal-proxy decodes it"},
	{`/a\\b|/a\|b|/'"`, "app uri", "*", "*", "an application gets the path as it was sent; kamal-proxy encodes it anew"},
	{`//x|/\./|/\.\.`, "app uri", "*", "*", "what is left of a path without its prefix is clean: no empty segment and no dots lead out of it. So does a newer kamal-proxy"},
	{`/\.\./|/%2e%2e/|//api`, "app", "*", "*", "the service is that of the clean path: /api/../x is /x. So does a newer kamal-proxy"},
	{`/ä|#x`, "status", "200", "400", "a request target with bytes that it cannot have is refused (RFC 9112, section 3.2)"},

	// Hosts.
	{`APP\.TEST|app\.test\./|B\.Wild\.test/(x|api)`, "status", "404", "200", "the names of hosts have no case, and may end with a dot (RFC 9110, section 4.2.3)"},
	{`(APP\.TEST|app\.test\.|B\.Wild\.test)/all`, "app", "two", "one", "the names of hosts have no case, so it is a service with that host, and not the one for all others"},

	// Header fields.
	{`X-Forwarded-Port|X-Real-IP`, "*", "*", "", "clients can make them up: only a trusted proxy is believed (PARACHUTE_TRUSTED_PROXIES)"},
	{`X-Kamal-Target`, "app X-Kamal-Target", "*", "its own address", "what a client sends in it is dropped; kamal-proxy adds to it"},
	{`/scoped/cookies`, "answer Set-Cookie", "*", "*", "only the path of a cookie is changed, the rest is as the application has written it"},

	// Redirects.
	{`(?i)^[A-Z]+ tls\.test/x\?y=z|^POST www`, "status", "301", "308", "a redirect keeps the method: after 301, browsers make a GET of a POST"},
	{`tls\.test:8080`, "answer Location", "*", "*", "a port that is not the default one is named; kamal-proxy drops it"},
	{`tls\.test|www\.canon\.test`, "answer Content-Type", "text/html; charset=utf-8", "", "a redirect has no body, for nobody sees it"},
	{`tls\.test|www\.canon\.test`, "body", "*", "", "a redirect has no body, for nobody sees it"},
	{`/\.well-known/acme-challenge/`, "status", "301", "200", "an application may answer the authorities' questions that the proxy has no answer for"},

	// Errors.
	{"", "answer Cache-Control", "", "no-store", "nobody is to keep an error of the proxy, or its answer to a load balancer"},
	{`Accept: text/html`, "answer Content-Security-Policy", "", "default-src 'none'; style-src 'unsafe-inline'", "the page of the proxy's own runs nothing and loads nothing"},
	{"", "answer X-Content-Type-Options", "", "nosniff", "no browser is to take the proxy's line of text for something else"},
	{"", "answer Content-Type", "text/html; charset=utf-8", "text/plain; charset=utf-8", "who does not ask for HTML gets a line of text"},
	{"", "body", "a page", "a line of text", "who does not ask for HTML gets a line of text"},
	{`stopped\.test`, "body", "a page", "Back soon", "who does not ask for HTML gets the message alone"},
	{`(stopped|paused)\.test/up`, "answer Content-Type", "", "text/plain; charset=utf-8", "the answer to a load balancer says what it is"},
	{`(stopped|paused)\.test/up`, "body", "", "the service is paused or stopped; its proxy is well", "the answer to a load balancer says what it is"},
}
