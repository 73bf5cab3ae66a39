package corpus

import (
	"fmt"
	"strings"
)

// ChunksCase is a chunked body.
type ChunksCase struct {
	// Name tells the cases apart, and Section is where RFC 9112 decides it, unless it names another RFC.
	Name, Section string
	// Body is what is sent behind the head.
	Body string
	// Content is what the body carries; it has no meaning if the body is refused.
	Content string
	// Status is that of the refusal; 0 if the body is read.
	Status int
}

// Chunks returns the cases of chunked bodies.
func Chunks() (all []ChunksCase) {
	serve := func(section, body, content string) {
		all = append(all, ChunksCase{fmt.Sprintf("the body %.60q", body), section, body, content, 0})
	}
	refuse := func(section, name, body string) {
		all = append(all, ChunksCase{name, section, body, "", 400})
	}
	serve("7.1", "0\r\n\r\n", "")
	serve("7.1", "000\r\n\r\n", "")
	serve("7.1", "5\r\nhello\r\n0\r\n\r\n", "hello")
	serve("7.1", "005\r\nhello\r\n0\r\n\r\n", "hello")
	serve("7.1", "A\r\n0123456789\r\na\r\nabcdefghij\r\n0\r\n\r\n", "0123456789abcdefghij")
	serve("7.1", "2\r\n\r\n\r\n0\r\n\r\n", "\r\n")
	serve("7.1", "5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n")
	for _, extension := range []string{";a", ";a=b", ";a=\"b\"", ";a=\"\"", ";a=\"b;c\"", ";a=\"b\\\"c\"", ";a=\"b c\td\"", ";a;b=c;d=\"e\"", ";a=\"\xc3\xa4\""} {
		serve("7.1.1", "5"+extension+"\r\nhello\r\n0"+extension+"\r\n\r\n", "hello")
	}
	serve("7.1.2", "0\r\nX-A: b\r\nX-C:\r\n\r\n", "")

	for _, size := range []string{"", " ", "-1", "+5", "0x5", "5h", "g", "5.", "5,", "5_0", "_5", " 5", "5 ", "\t5", "5\t", "5 5", "\v5", "5\f", "5\x00", "\"5\"", "٥", "0000000000000005", "8000000000000000", "ffffffffffffffff", "10000000000000005", "5=a"} {
		refuse("7.1", fmt.Sprintf("the size %q", size), size+"\r\nhello\r\n0\r\n\r\n")
	}
	for _, extension := range []string{";", ";;a", ";a;", " ;a", "; a", ";a =b", ";a= b", ";a ", ";a=", ";=b", ";a=b=c", ";a=b c", ";\"a\"", ";a=\"b", ";a=\"b\"c", ";a=\"b\\", ";a=b\"", ";a\x00", ";a=\"\x00\"", ";a=\"\\\x00\"", ";a=\"\x7f\"", ";a=\"b\nc\"", ";a=\"b\rc\"", ";a,b", ";a=b\n", ";\xc3\xa4", ";a=(b)"} {
		refuse("7.1.1", fmt.Sprintf("the extension %q", extension), "5"+extension+"\r\nhello\r\n0\r\n\r\n")
	}
	for name, body := range map[string]string{
		"a bare LF behind the size":          "5\nhello\r\n0\r\n\r\n",
		"a bare CR behind the size":          "5\rhello\r\n0\r\n\r\n",
		"two CRs behind the size":            "5\r\r\nhello\r\n0\r\n\r\n",
		"a bare LF behind an extension":      "5;a\nhello\r\n0\r\n\r\n",
		"a bare LF behind the content":       "5\r\nhello\n0\r\n\r\n",
		"a bare CR behind the content":       "5\r\nhello\r0\r\n\r\n",
		"no end of line behind the content":  "5\r\nhello0\r\n\r\n",
		"content that is longer":             "5\r\nhello!\r\n0\r\n\r\n",
		"content that is shorter":            "6\r\nhello\r\n0\r\n\r\n",
		"white space behind the content":     "5\r\nhello \r\n0\r\n\r\n",
		"an empty line before the size":      "\r\n5\r\nhello\r\n0\r\n\r\n",
		"an empty line between chunks":       "5\r\nhello\r\n\r\n0\r\n\r\n",
		"a bare LF behind the last size":     "0\n\r\n",
		"a bare LF as the last line":         "0\r\n\n",
		"a CR without LF as the last line":   "0\r\n\rX\n",
		"a bare LF behind a trailer":         "0\r\nX-A: b\n\r\n",
		"a bare CR in a trailer":             "0\r\nX-A: b\rc\r\n\r\n",
		"a folded trailer":                   "0\r\nX-A: b\r\n c\r\n\r\n",
		"white space before a trailer":       "0\r\n X-A: b\r\n\r\n",
		"white space before a colon":         "0\r\nX-A : b\r\n\r\n",
		"a trailer without a name":           "0\r\n: b\r\n\r\n",
		"a trailer without a colon":          "0\r\nX-A\r\n\r\n",
		"a NUL in a trailer":                 "0\r\nX-A: \x00\r\n\r\n",
		"a request in the place of trailers": "0\r\n" + smuggled,
		"a line of a size that is too long":  "5;" + strings.Repeat("a", 2000) + "\r\nhello\r\n0\r\n\r\n",
		"extensions that are too long":       strings.Repeat("1;"+strings.Repeat("a", 900)+"\r\nx\r\n", 30) + "0\r\n\r\n",
		"trailers that are too long":         "0\r\n" + strings.Repeat("X-A: "+strings.Repeat("a", 900)+"\r\n", 30) + "\r\n",
		"one trailer that is too long":       "0\r\nX-A: " + strings.Repeat("a", 20000) + "\r\n\r\n",
	} {
		refuse("2.2, 7.1", name, body)
	}
	for _, name := range []string{"Transfer-Encoding", "content-length", "Host", "Connection", "Keep-Alive", "TE", "Trailer", "Upgrade", "Expect", "Content-Encoding", "Content-Type", "Authorization", "Cookie", "X-Forwarded-For"} {
		refuse("RFC 9110, 6.5.1", "the trailer "+name, "0\r\n"+name+": 5\r\n\r\n")
	}
	return all
}
