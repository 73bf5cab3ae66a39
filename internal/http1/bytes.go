package http1

// Classes of bytes.
const (
	// tokenByte may be in a token (RFC 9110, section 5.6.2).
	tokenByte = 1 << iota
	// valueByte may be in a field value: visible characters, bytes above ASCII, space and tab
	// (RFC 9110, section 5.5).
	valueByte
	// targetByte may be in a request target: what RFC 3986 has, and what clients send although it
	// is not there, such as bytes above ASCII; but no space, control character nor fragment.
	targetByte
	// hostByte may be in a name of a host: reg-name of RFC 3986, section 3.2.2.
	hostByte
)

var classes = func() (c [256]byte) {
	for i := range c {
		b := byte(i)
		alphanumeric := b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
		if alphanumeric || contains("!#$%&'*+-.^_`|~", b) {
			c[i] |= tokenByte
		}
		if b >= ' ' && b != 0x7f || b == '\t' {
			c[i] |= valueByte
		}
		if b > ' ' && b != 0x7f && b != '#' {
			c[i] |= targetByte
		}
		if alphanumeric || contains("-._~%!$&'()*+,;=", b) {
			c[i] |= hostByte
		}
	}
	return c
}()

func contains(s string, b byte) bool {
	for i := range len(s) {
		if s[i] == b {
			return true
		}
	}
	return false
}

// IsToken reports whether s is a token, as names of fields and methods are (RFC 9110, section 5.6.2).
func IsToken(s string) bool {
	for i := range len(s) {
		if classes[s[i]]&tokenByte == 0 {
			return false
		}
	}
	return s != ""
}

// skip returns the index of the first byte of b from i on that is not of a class.
func skip(b []byte, i int, class byte) int {
	for i < len(b) && classes[b[i]]&class != 0 {
		i++
	}
	return i
}

// equalFold reports whether b is an ASCII text that is given in lower case.
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i := range b {
		c := b[i]
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// trim takes spaces and tabs away at both ends.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// next returns the first element of a comma-separated list, and what comes behind its comma. more is
// false for the last one.
func next(list []byte) (element, rest []byte, more bool) {
	for i, c := range list {
		if c == ',' {
			return trim(list[:i]), list[i+1:], true
		}
	}
	return trim(list), nil, false
}
