package transport

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"syscall"
)

// maxHead bounds the head of an answer.
const maxHead = 1 << 20

// ErrMalformed means that the target sent what is no answer, or one that could be
// read in two ways (RFC 9112, sections 2.2, 5 and 6.3). The error that wraps it says in
// one sentence what is wrong.
var ErrMalformed = errors.New("malformed HTTP answer")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// scanHead looks for the end of the head in b and returns the offset behind it, or
// 0 if it has not come yet, and the number of lines before the blank one. A line may end
// in a line feed alone (RFC 9112, section 2.2).
func scanHead(b []byte) (end, lines int, err error) {
	for i := 0; ; {
		n := bytes.IndexByte(b[i:], '\n')
		switch {
		case n < 0:
			return 0, lines, nil
		case n > 1 || n == 1 && b[i] != '\r':
			i += n + 1
			lines++
		case i == 0:
			return 0, 0, malformed("it begins with a blank line")
		default:
			return i + n + 1, lines, nil
		}
	}
}

// cutLine returns the first line of s, which has one, without its end.
func cutLine(s string) (line, rest string) {
	n := strings.IndexByte(s, '\n')
	if line, rest = s[:n], s[n+1:]; n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line, rest
}

// parseAnswer parses a whole head. The values of the header share its memory.
func parseAnswer(head string, lines int, req *http.Request) (*http.Response, error) {
	line, rest := cutLine(head)
	resp := &http.Response{Request: req, ProtoMajor: 1}
	if err := parseStatusLine(resp, line); err != nil {
		return nil, err
	}
	var err error
	resp.Header, err = parseFields(rest, lines-1)
	return resp, err
}

// parseStatusLine parses "HTTP/1.1 200 OK" (RFC 9112, section 4). The reason may
// be missing together with the space before it.
func parseStatusLine(resp *http.Response, line string) error {
	const version = "HTTP/1.1 "
	if len(line) < len(version)+3 || line[:7] != version[:7] || line[8] != ' ' || line[7] != '0' && line[7] != '1' {
		return malformed("its status line is %.64q", line)
	}
	code, after := line[9:12], line[12:]
	status := 0
	for i := range 3 {
		if code[i] < '0' || code[i] > '9' {
			return malformed("its status line is %.64q", line)
		}
		status = status*10 + int(code[i]-'0')
	}
	if status < 100 || after != "" && after[0] != ' ' || !validValue(after) {
		return malformed("its status line is %.64q", line)
	}
	resp.Status, resp.StatusCode = line[9:], status
	resp.Proto, resp.ProtoMinor = line[:8], int(line[7]-'0')
	return nil
}

// parseFields parses the lines of a header or trailer section, which end in a
// blank one. What has one meaning though it is not as it should be is mended, as a proxy
// has to: white space before a colon (RFC 9112, section 5.1), and folded lines (section
// 5.2).
func parseFields(s string, lines int) (http.Header, error) {
	h := make(http.Header, lines)
	values := make([]string, lines) // one for each line, so that none needs its own
	var line string
	for {
		line, s = cutLine(s)
		if line == "" {
			return h, nil
		}
		if blank(line[0]) {
			return nil, malformed("its first field line begins with white space: %.64q", line)
		}
		colon := strings.IndexByte(line, ':')
		if colon < 0 {
			return nil, malformed("a field line has no colon: %.64q", line)
		}
		name, ok := canonical(trim(line[:colon]))
		value := trim(line[colon+1:])
		if blank(s[0]) {
			if value, s = unfold(value, s); s == "" {
				return nil, malformed("a line of white space is in its header")
			}
		}
		switch {
		case !ok:
			return nil, malformed("the name of a field is not a token: %.64q", line)
		case !validValue(value):
			return nil, malformed("the field %s has a control character: %.64q", name, value)
		}
		if old, ok := h[name]; ok {
			h[name] = append(old, value)
			continue
		}
		values[0] = value
		h[name], values = values[:1:1], values[1:]
	}
}

// unfold appends to value the lines that continue it, at the beginning of s, and returns
// what comes behind them. That is "" if one of them is nothing but white space: others
// take it for the end of the header.
func unfold(value, s string) (unfolded, rest string) {
	b := []byte(value)
	for blank(s[0]) {
		var line string
		line, s = cutLine(s)
		if line = trim(line); line == "" {
			return "", ""
		}
		if len(b) > 0 {
			b = append(b, ' ')
		}
		b = append(b, line...)
	}
	return string(b), s
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

// canonical returns the name of a field in the form that net/http has it in, and
// whether it is a token. Most names are in that form already.
func canonical(name string) (string, bool) {
	inOrder := true
	wordBegins := true
	for i := range len(name) {
		class := byteClass[name[i]]
		if class&tokenByte == 0 {
			return "", false
		}
		inOrder = inOrder && (class&lowerByte == 0 || !wordBegins) && (class&upperByte == 0 || wordBegins)
		wordBegins = name[i] == '-'
	}
	if !inOrder {
		name = http.CanonicalHeaderKey(name)
	}
	return name, name != ""
}

// framing says how the end of a body is found.
type framing int

const (
	noBody framing = iota
	byLength
	byChunks
	byClose
)

// frame returns the framing of the body of resp and its length (RFC 9112, section
// 6.3), and refuses what has two. A length that is said twice is said once, and one that
// counts for nothing, beside chunks, is dropped; unsure says that it was.
func frame(resp *http.Response) (f framing, length int64, unsure bool, err error) {
	lengths, codings := resp.Header["Content-Length"], resp.Header["Transfer-Encoding"]
	length = -1
	if len(lengths) > 0 {
		for _, other := range lengths[1:] {
			if other != lengths[0] {
				return 0, 0, false, malformed("it has two lengths: %.64q and %.64q", lengths[0], other)
			}
		}
		var ok bool
		if length, ok = parseLength(lengths[0]); !ok {
			return 0, 0, false, malformed("its Content-Length is not a number: %.64q", lengths[0])
		}
		if len(lengths) > 1 {
			resp.Header["Content-Length"] = lengths[:1]
		}
	}
	if len(codings) > 0 {
		switch {
		case len(codings) > 1 || !strings.EqualFold(codings[0], "chunked"):
			return 0, 0, false, malformed("its Transfer-Encoding is not chunked but %.64q", strings.Join(codings, ", "))
		case resp.ProtoMinor == 0:
			return 0, 0, false, malformed("it has a Transfer-Encoding, which HTTP/1.0 does not know")
		}
		if len(lengths) > 0 {
			delete(resp.Header, "Content-Length")
			length, unsure = -1, true
		}
	}
	switch status := resp.StatusCode; {
	case status < 200 || status == http.StatusNoContent || status == http.StatusNotModified || resp.Request.Method == http.MethodHead:
		return noBody, length, unsure, nil
	case len(codings) > 0:
		return byChunks, -1, unsure, nil
	case length == 0:
		return noBody, 0, unsure, nil
	case length > 0:
		return byLength, length, unsure, nil
	}
	return byClose, -1, unsure, nil
}

// parseLength parses 1*DIGIT, which strconv is more generous about.
func parseLength(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// trim removes optional whitespace (RFC 9110, section 5.6.3), and no other.
func trim(s string) string {
	for s != "" && blank(s[0]) {
		s = s[1:]
	}
	for s != "" && blank(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// Classes of bytes in a header.
const (
	tokenByte = 1 << iota // RFC 9110, section 5.6.2
	valueByte             // RFC 9110, section 5.5: no control characters but tab
	lowerByte
	upperByte
)

var byteClass = func() (class [256]byte) {
	for c := range class {
		if c >= ' ' && c != 0x7f || c == '\t' {
			class[c] |= valueByte
		}
		switch {
		case c >= 'a' && c <= 'z':
			class[c] |= tokenByte | lowerByte
		case c >= 'A' && c <= 'Z':
			class[c] |= tokenByte | upperByte
		case c >= '0' && c <= '9' || c < 0x80 && strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)):
			class[c] |= tokenByte
		}
	}
	return class
}()

func validValue(s string) bool { return allOf(s, valueByte) }

func allOf(s string, class byte) bool {
	for i := range len(s) {
		if byteClass[s[i]]&class == 0 {
			return false
		}
	}
	return true
}
