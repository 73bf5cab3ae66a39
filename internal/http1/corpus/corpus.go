// Package corpus has requests of HTTP/1.1 that could be read in two ways, or nearly, and what is to be
// answered to them. The tests of the parser and of servers use it.
package corpus

import (
	"fmt"
	"strings"
)

// Case is the beginning of what a client sends.
type Case struct {
	// Name tells the cases apart, and Section is where RFC 9112 decides it, unless it names another RFC.
	Name, Section string
	// Request is what is sent: a head, which content may follow.
	Request string
	// Status is that of the refusal; 0 if the request is served.
	Status int
}

// all but the last empty line of a request that is served.
const plain = "GET /a HTTP/1.1\r\nHost: app.test\r\n"

// post is the same for a request with content.
const post = "POST /a HTTP/1.1\r\nHost: app.test\r\n"

// smuggled is a request that must not be found in the content of another one.
const smuggled = "GET /smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n"

// All returns the cases.
func All() []Case {
	return append(append(append(append(served(), lines()...), fields()...), framing()...), everyByte()...)
}

func served() (all []Case) {
	add := func(name, section, request string) {
		all = append(all, Case{name, section, request, 0})
	}
	add("plain", "2.1", plain+"\r\n")
	add("an empty line before", "2.2", "\r\n"+plain+"\r\n")
	add("a query", "3.2.1", "GET /a?b=c&d HTTP/1.1\r\nHost: app.test\r\n\r\n")
	add("an escaped path", "3.2.1", "GET /%2e%2E/a%20b HTTP/1.1\r\nHost: app.test\r\n\r\n")
	add("a port in the host", "3.2", "GET / HTTP/1.1\r\nHost: app.test:8080\r\n\r\n")
	add("an address of IPv6", "3.2", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n")
	add("an address of IPv6 with one of IPv4 in it", "3.2", "GET / HTTP/1.1\r\nHost: [::ffff:192.0.2.1]\r\n\r\n")
	add("an address of IPv4", "3.2", "GET / HTTP/1.1\r\nHost: 192.0.2.1:80\r\n\r\n")
	add("an empty port in the host", "RFC 3986, 3.2.3", "GET / HTTP/1.1\r\nHost: app.test:\r\n\r\n")
	add("an escape in the host", "RFC 3986, 3.2.2", "GET / HTTP/1.1\r\nHost: a%2db_c.test\r\n\r\n")
	add("a target with scheme and host", "3.2.2", "GET http://app.test/a HTTP/1.1\r\nHost: app.test\r\n\r\n")
	add("a target with scheme, host, port and query", "3.2.2", "GET HTTP://app.test:80?a HTTP/1.1\r\nHost: app.test:80\r\n\r\n")
	add("no white space behind the colon", "5.1", plain+"X-A:b\r\n\r\n")
	add("white space around a value", "5.1", plain+"X-A: \t b \t \r\n\r\n")
	add("an empty value", "5.1", plain+"X-A:\r\n\r\n")
	add("a name with odd characters", "5.1", plain+"!#$%&'*+-.^_`|~9: b\r\n\r\n")
	add("bytes above ASCII in a value", "RFC 9110, 5.5", plain+"X-A: \xc3\xa4\xff\r\n\r\n")
	add("the same field twice", "RFC 9110, 5.3", plain+"X-A: b\r\nX-A: c\r\n\r\n")
	add("a method that is not known", "RFC 9110, 9.1", "BREW /a HTTP/1.1\r\nHost: app.test\r\n\r\n")
	add("a body", "6.2", post+"Content-Length: 5\r\n\r\nhello")
	add("a body with a request in it", "6.2", fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", post, len(smuggled), smuggled))
	add("an empty body", "6.2", post+"Content-Length: 0\r\n\r\n")
	add("zeros before a length", "RFC 9110, 8.6", post+"Content-Length: 005\r\n\r\nhello")
	add("chunks", "7.1", post+"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
	add("chunks with a request in them", "7.1", fmt.Sprintf("%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", post, len(smuggled), smuggled))
	add("chunked in capitals", "7", post+"TRANSFER-ENCODING: CHUNKED\r\n\r\n0\r\n\r\n")
	add("keep-alive", "9.3", plain+"Connection: keep-alive\r\n\r\n")
	add("another connection option", "RFC 9110, 7.6.1", plain+"Connection: X-B\r\nX-B: c\r\n\r\n")
	return all
}

// lines are cases about the request line, and about how lines end.
func lines() (all []Case) {
	refuse := func(section, name, request string, status int) {
		all = append(all, Case{name, section, request, status})
	}
	const rest = "\r\nHost: app.test\r\n\r\n"
	for _, line := range []string{
		"", " GET / HTTP/1.1", "GET  / HTTP/1.1", "GET /  HTTP/1.1", "GET / HTTP/1.1 ", "GET /\tHTTP/1.1", "GET\t/ HTTP/1.1", "GET / a HTTP/1.1", "GET /a b HTTP/1.1",
		"GET", "GET /", "GET / ", "/ HTTP/1.1", "GET HTTP/1.1", "GET / HTTP", "GET / HTTP/", "GET / HTTP/1", "GET / HTTP/1.", "GET / HTTP/1.1x", "GET / HTTP/1.1.1", "GET / HTTP/11", "GET / HTTP/01.1",
		"GET / http/1.1", "GET / HTTPS/1.1", "GET / HTTP /1.1", "GET / HTTP/ 1.1", "GET / HTTP/1 .1", "GET / HTTP/1,1", "GET / HTTP/-1.1", "GET / HTTP/+1.1", "GET / HTTP/a.1", "GET / HTTP/1.a", "GET / ICAP/1.0",
		"G@T / HTTP/1.1", "G:T / HTTP/1.1", "(GET) / HTTP/1.1", "GET a HTTP/1.1", "GET a/b HTTP/1.1", "GET ?a HTTP/1.1", "GET * HTTP/1.1", "GET /a#b HTTP/1.1", "GET /#b HTTP/1.1", "GET ftp://app.test/ HTTP/1.1", "GET http:/a HTTP/1.1", "GET http:// HTTP/1.1",
		"GET app.test:80 HTTP/1.1", "CONNECT /a HTTP/1.1", "CONNECT http://app.test/ HTTP/1.1", "CONNECT app.test HTTP/1.1", "CONNECT app.test: HTTP/1.1", "CONNECT :443 HTTP/1.1", "CONNECT app.test:443:443 HTTP/1.1", "CONNECT app.test:https HTTP/1.1", "CONNECT user@app.test:443 HTTP/1.1", "CONNECT [::1 HTTP/1.1", "CONNECT * HTTP/1.1",
		"GET http:///a HTTP/1.1", "GET http://:80/a HTTP/1.1", "GET http://?a HTTP/1.1", "GET http://user@app.test/ HTTP/1.1", "GET http://user:pw@app.test/ HTTP/1.1", "GET http://app.test:a/ HTTP/1.1", "GET http://app.test:80:80/ HTTP/1.1", "GET http://app[test/ HTTP/1.1", "GET http://[::1/ HTTP/1.1", "GET http://app.test\\a HTTP/1.1", "GET https:///a HTTP/1.1", "GET https://%zz/ HTTP/1.1", "GET http://ä/ HTTP/1.1",
		"OPTIONS ** HTTP/1.1", "OPTIONS *a HTTP/1.1", "POST * HTTP/1.1",
	} {
		refuse("3", fmt.Sprintf("the request line %q", line), line+rest, 400)
	}
	for _, version := range []string{"0.9", "1.2", "1.9", "2.0", "3.0", "9.1"} {
		refuse("RFC 9110, 15.6.6", "version "+version, "GET / HTTP/"+version+rest, 505)
	}
	for name, request := range map[string]string{
		"a bare LF behind the request line":  "GET / HTTP/1.1\nHost: app.test\r\n\r\n",
		"a bare LF behind a field":           "GET / HTTP/1.1\r\nHost: app.test\nX-A: b\r\n\r\n",
		"a bare LF at the end":               plain + "\n",
		"bare LFs alone":                     "GET / HTTP/1.1\nHost: app.test\n\n",
		"a bare LF before":                   "\n" + plain + "\r\n",
		"two empty lines before":             "\r\n\r\n" + plain + "\r\n",
		"a bare CR behind the request line":  "GET / HTTP/1.1\rHost: app.test\r\n\r\n",
		"a bare CR behind a field":           "GET / HTTP/1.1\r\nHost: app.test\rX-A: b\r\n\r\n",
		"a bare CR in a value":               plain + "X-A: b\rc\r\n\r\n",
		"a bare CR at the end":               plain + "\r \n",
		"two CRs":                            plain + "X-A: b\r\r\n\r\n",
		"a CR in the target":                 "GET /a\rb HTTP/1.1\r\nHost: app.test\r\n\r\n",
		"a CR in the method":                 "G\rET / HTTP/1.1\r\nHost: app.test\r\n\r\n",
		"a CR before":                        "\rGET / HTTP/1.1\r\nHost: app.test\r\n\r\n",
		"LF and CR in the wrong order":       "GET / HTTP/1.1\n\rHost: app.test\n\r\n\r",
		"the beginning of a TLS handshake":   "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03",
		"what a proxy protocol begins with":  "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + plain + "\r\n",
		"an answer":                          "HTTP/1.1 200 OK\r\nHost: app.test\r\n\r\n",
		"a byte order mark":                  "\xef\xbb\xbf" + plain + "\r\n",
		"no field at all":                    "GET / HTTP/1.1\r\n\r\n",
		"a request of HTTP/0.9":              "GET /\r\n\r\n",
		"a NUL before":                       "\x00" + plain + "\r\n",
		"a separator of lines of Unicode":    "GET / HTTP/1.1\u2028Host: app.test\r\n\r\n",
		"a space that does not break lines":  "GET\u00a0/ HTTP/1.1\r\nHost: app.test\r\n\r\n",
		"a vertical tab in the request line": "GET\v/ HTTP/1.1\r\nHost: app.test\r\n\r\n",
		"a form feed in the request line":    "GET /\fHTTP/1.1\r\nHost: app.test\r\n\r\n",
	} {
		refuse("2.2", name, request, 400)
	}
	return all
}

// fields are cases about field lines and the Host.
func fields() (all []Case) {
	for name, lines := range map[string]string{
		"a folded line":                         "X-A: b\r\n c\r\n",
		"a line that is folded with a tab":      "X-A: b\r\n\tc\r\n",
		"a folded line that is empty":           "X-A: b\r\n \r\n",
		"white space before the first field":    " X-A: b\r\n",
		"white space before the colon":          "X-A : b\r\n",
		"a tab before the colon":                "X-A\t: b\r\n",
		"a line without a colon":                "X-A\r\n",
		"a line without a name":                 ": b\r\n",
		"a colon alone":                         ":\r\n",
		"white space in a name":                 "X A: b\r\n",
		"a quoted name":                         "\"X-A\": b\r\n",
		"a folded Content-Length":               "Content-Length:\r\n 5\r\n",
		"a folded Transfer-Encoding":            "Transfer-Encoding:\r\n chunked\r\n",
		"Content-Length with a space behind":    "Content-Length : 5\r\n",
		"Transfer-Encoding with a space behind": "Transfer-Encoding : chunked\r\n",
		"Transfer-Encoding with a tab behind":   "Transfer-Encoding\t: chunked\r\n",
		"Transfer-Encoding with a space before": " Transfer-Encoding: chunked\r\n",
		"Transfer-Encoding with a NUL in it":    "Transfer\x00-Encoding: chunked\r\n",
		"Transfer-Encoding in a folded line":    "X-A: b\r\n Transfer-Encoding: chunked\r\n",
		"a Host that is folded":                 "Host:\r\n app.test\r\n",
	} {
		all = append(all, Case{name, "5.1, 5.2", post + lines + "\r\n", 400})
	}
	for _, host := range []string{
		"a b", "a/b", "a@b", "user:pw@a", "a?b", "a#b", "a\\b", "a\"b", "<a>", "a\tb", "{a}", "a|b", "a^b", "a`b", "http://a/", "//a", "ä",
		"a:b", "a:b:c", "a:80:80", "a::80", "a:-1", "a:+1", "a: 80", "a:8o", "a:80,b", ":", ":80", "a[b", "a]b", "[", "]", "[]", "[a]", "[::1", "::1]", "::1", "[::1]a", "[::1]80", "[::1]:a", "[::1]:80:80", "[[::1]]", "[::1%25eth0]", "[::1%eth0]",
		"[192.0.2.1]", "[1:2:3:4:5:6:7:8:9]", "[::ffff:192.0.2.256]", "[v1.a]", "[vF.a:b]", "%", "%4", "a%", "a%4", "a%zz", "%zz", "a%4g", "%%41",
	} {
		all = append(all, Case{fmt.Sprintf("the host %q", host), "3.2", "GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n", 400})
	}
	for _, lines := range []string{"Host: app.test\r\nHost: app.test\r\n", "Host: app.test\r\nHost: other.test\r\n", "Host: app.test\r\nhost: other.test\r\n", "Host:\r\nHost: app.test\r\n", "Host: app.test, other.test other\r\n"} {
		all = append(all, Case{fmt.Sprintf("the hosts %q", lines), "3.2", "GET / HTTP/1.1\r\n" + lines + "\r\n", 400})
	}
	return all
}

// framing are cases about where the content ends.
func framing() (all []Case) {
	refuse := func(section, lines string, status int) {
		all = append(all, Case{fmt.Sprintf("the fields %q", lines), section, post + lines + "\r\n" + smuggled, status})
	}
	for _, length := range []string{"", "+5", "-5", "-0", "0x5", "5.0", "5 5", "5,5", "5, 5", "5,6", ",5", "5,", "5;", "5;a=b", "\"5\"", "5a", "a5", "five", "1e1", "1_0", "5\v", "\f5", "٥", "999999999999999999999", "9223372036854775808", "18446744073709551616", "18446744073709551621"} {
		refuse("6.3; RFC 9110, 8.6", "Content-Length: "+length+"\r\n", 400)
	}
	for _, lengths := range [][2]string{{"5", "5"}, {"5", "6"}, {"0", "5"}, {"5", "0"}, {"", "5"}, {"5", ""}, {"5", "05"}} {
		refuse("6.3", "Content-Length: "+lengths[0]+"\r\nContent-Length: "+lengths[1]+"\r\n", 400)
		refuse("6.3", "Content-Length: "+lengths[0]+"\r\ncontent-length: "+lengths[1]+"\r\n", 400)
	}
	for _, coding := range []string{
		"", " ", ",", ",chunked", "chunked,", ", chunked", "chunked, ", "chunked,,", "chunked, chunked", "chunked,chunked", "chunked chunked", "chunked;", "chunked;q=1", "chunked; a=b", "\"chunked\"", "chunked\v", "\fchunked", "\x00chunked", "chunked\x00", "chunked\x7f", "ch\x01unked",
		"(chunked)", "chunked, gzip", "chunked, identity", "chunked, a", "chunked\xa0", "\xa0chunked", "chünked", "chunked/1", "chunked=1", "[chunked]", "chunked:", ":chunked", "a=b", "gzip;q=1", "gz ip", "@gzip", "gzip,", ",gzip", "gzip,,chunked", "gzip, ,chunked", "gzip, chunked, chunked", "gzip, chunked, gzip", "gzip, chunked;q=1", "gzip; a=b, chunked",
	} {
		refuse("6.1", "Transfer-Encoding: "+coding+"\r\n", 400)
	}
	for _, coding := range []string{"gzip", "identity", "deflate", "compress", "x-gzip", "gzip, chunked", "identity, chunked", "gzip,chunked", "xchunked", "chunkedx", "chunk", "CHUNKE", "'chunked", "'chunked'", "gzip, gzip", "identity,identity", "gzip, br, chunked"} {
		refuse("6.1", "Transfer-Encoding: "+coding+"\r\n", 501)
	}
	for _, lines := range []string{
		"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\ntransfer-encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n", "Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n",
		"Transfer-Encoding: gzip\r\nTransfer-Encoding:\r\n", "Transfer-Encoding: gzip, chunked\r\nTransfer-Encoding: gzip\r\n", "Transfer-Encoding: gzip\r\nContent-Length: 5\r\n", "Content-Length: 5\r\nTransfer-Encoding: gzip, chunked\r\n",
		"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", "transfer-encoding: CHUNKED\r\ncontent-length: 5\r\n", "Content-Length: 5\r\nX-A: b\r\nTransfer-Encoding: chunked\r\nX-C: d\r\n",
	} {
		refuse("6.1, 6.3", lines, 400)
	}
	for _, lines := range []string{"Transfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"} {
		all = append(all, Case{fmt.Sprintf("HTTP/1.0 with %q", lines), "6.1", "POST /a HTTP/1.0\r\nHost: app.test\r\n" + lines + "\r\n0\r\n\r\n" + smuggled, 400})
	}
	return all
}

// everyByte are cases with a byte in a place where it does not belong.
func everyByte() (all []Case) {
	const (
		token  = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		inHost = "-._~!$&'()*+,;=:0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	)
	for i := range 256 {
		b := string([]byte{byte(i)})
		add := func(where, section, request string) {
			all = append(all, Case{fmt.Sprintf("the byte %#02x in %s", i, where), section, request, 400})
		}
		if !strings.Contains(token, b) && b != ":" {
			add("a name", "5.1", plain+"X"+b+"A: b\r\n\r\n")
		}
		if !strings.Contains(token, b) && b != " " {
			add("the method", "3.1", "G"+b+"T / HTTP/1.1\r\nHost: app.test\r\n\r\n")
		}
		if control := i < ' ' && b != "\t" || i == 0x7f; control {
			add("a value", "RFC 9110, 5.5", plain+"X-A: b"+b+"c\r\n\r\n")
		}
		if i < ' ' || i == 0x7f || b == "#" {
			add("the target", "3.2", "GET /a"+b+"b HTTP/1.1\r\nHost: app.test\r\n\r\n")
		}
		if !strings.Contains(inHost, b) {
			add("the host", "3.2", "GET / HTTP/1.1\r\nHost: a"+b+"b\r\n\r\n")
		}
	}
	return all
}
