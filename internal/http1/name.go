package http1

import (
	"net/textproto"
	"strings"
)

// CanonicalName returns the name of a field in the form that net/http has it in, without an allocation for
// those that most requests have.
func CanonicalName(name []byte) string {
	if known, ok := names[string(name)]; ok {
		return known
	}
	return textproto.CanonicalMIMEHeaderKey(string(name))
}

// names has the canonical forms of names, in the two spellings that most clients use.
var names = func() map[string]string {
	m := make(map[string]string)
	for _, name := range []string{
		"Accept", "Accept-Charset", "Accept-Encoding", "Accept-Language", "Access-Control-Request-Headers",
		"Access-Control-Request-Method", "Authorization", "Cache-Control", "Cdn-Loop", "Cf-Connecting-Ip", "Cf-Ipcountry",
		"Cf-Ray", "Cf-Visitor", "Connection", "Content-Encoding", "Content-Length", "Content-Type", "Cookie", "Date", "Dnt",
		"Expect", "Forwarded", "From", "Host", "If-Match", "If-Modified-Since", "If-None-Match", "If-Range",
		"If-Unmodified-Since", "Keep-Alive", "Origin", "Pragma", "Priority", "Proxy-Connection", "Purpose", "Range", "Referer",
		"Sec-Ch-Ua", "Sec-Ch-Ua-Mobile", "Sec-Ch-Ua-Platform", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site",
		"Sec-Fetch-User", "Sec-Gpc", "Sec-Websocket-Extensions", "Sec-Websocket-Key", "Sec-Websocket-Protocol",
		"Sec-Websocket-Version", "Te", "Traceparent", "Tracestate", "Trailer", "Transfer-Encoding", "Upgrade",
		"Upgrade-Insecure-Requests", "User-Agent", "Via", "X-Amzn-Trace-Id", "X-Csrf-Token", "X-Forwarded-For",
		"X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Proto", "X-Real-Ip", "X-Request-Id", "X-Request-Start",
		"X-Requested-With",
	} {
		m[name], m[strings.ToLower(name)] = name, name
	}
	return m
}()
