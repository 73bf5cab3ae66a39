package http1

import "io"

// Bounds of what is not content in a chunked body, in bytes. RFC 9112, section 7.1.1, asks for such bounds.
const (
	// MaxChunkLine is how long the line with the size of a chunk may be, with extensions and CRLF.
	MaxChunkLine = 1 << 10
	// MaxExtensions is how long the extensions of all chunks of a body may be together.
	MaxExtensions = 16 << 10
	// MaxTrailers is how long the trailer section may be, as with net/http.
	MaxTrailers = 4 << 10
)

// maxSizeDigits is how many hexadecimal digits a size has at most, so that it fits into an int64.
const maxSizeDigits = 15

// chunkState is where in a chunked body the next byte is.
type chunkState uint8

const (
	atSize chunkState = iota
	inSize
	atExtensionName
	inExtensionName
	atExtensionValue
	inExtensionValue
	inQuoted
	inQuotedPair
	afterQuoted
	afterSizeCR
	inData
	afterData
	afterDataCR
	inTrailers
)

// Chunks reads a chunked body bit by bit (RFC 9112, section 7.1). The zero value is at the beginning of
// one.
//
// White space is refused in the line of a size, also where section 7.1.1 has it as bad white space (BWS):
// servers differ in where they look for it, and no client sends it.
type Chunks struct {
	// Trailers are the trailer fields, when the body has ended. Until Reset, they stay as they are.
	Trailers []Field

	state chunkState
	// left is the size of the chunk, and later how much of it is still to come.
	left int64
	// digits, line and extensions count bytes: of the size, of its line, and of all extensions.
	digits, line, extensions int
	// section has the trailers, of which those before parsed are in Trailers.
	section []byte
	parsed  int
	err     error
}

// Reset lets another body begin. Room for trailers is kept, so the old Trailers are not valid any more.
func (c *Chunks) Reset() { *c = Chunks{Trailers: c.Trailers[:0], section: c.section[:0]} }

// Plain reports whether nothing but content has come so far: no extension, and no trailer.
func (c *Chunks) Plain() bool { return c.extensions == 0 && len(c.Trailers) == 0 }

// Next takes bytes from the beginning of src. n is how many they are, and data is the part of src[:n] that
// is content. The error is [io.EOF] when the body has ended, with its last byte counted in n;
// [ErrIncomplete] if all of src is taken and there is neither content nor the end; and an [*Error] if the
// body is malformed. After io.EOF and *Error, each further call gives the same error.
func (c *Chunks) Next(src []byte) (data []byte, n int, err error) {
	if c.err != nil {
		return nil, 0, c.err
	}
	for n < len(src) {
		if c.state == inData {
			size := int(min(int64(len(src)-n), c.left))
			if c.left -= int64(size); c.left == 0 {
				c.state = afterData
			}
			return src[n : n+size], n + size, nil
		}
		b := src[n]
		n++
		if c.err = c.take(b); c.err != nil {
			return nil, n, c.err
		}
	}
	return nil, n, ErrIncomplete
}

// take takes a byte that is no content.
func (c *Chunks) take(b byte) error {
	switch c.state {
	case afterData:
		if b != '\r' {
			return errChunkEnd
		}
		c.state = afterDataCR
		return nil
	case afterDataCR:
		if b != '\n' {
			return errChunkEnd
		}
		c.state, c.left, c.digits, c.line = atSize, 0, 0, 0
		return nil
	case inTrailers:
		return c.takeTrailer(b)
	}
	if c.line++; c.line > MaxChunkLine {
		return errChunkLine
	}
	switch c.state {
	case atSize, inSize:
		return c.takeSize(b)
	case afterSizeCR:
		if b != '\n' {
			return errBareCR
		}
		c.state = inData
		if c.left == 0 {
			c.state = inTrailers
		}
		return nil
	}
	return c.takeExtension(b)
}

// takeSize takes a byte of the size of a chunk, or the one behind it.
func (c *Chunks) takeSize(b byte) error {
	digit := int64(0)
	switch {
	case b >= '0' && b <= '9':
		digit = int64(b - '0')
	case b|0x20 >= 'a' && b|0x20 <= 'f':
		digit = int64(b|0x20-'a') + 10
	case c.state == atSize:
		return errChunkSize
	default:
		return c.afterElement(b, errChunkSize)
	}
	if c.digits++; c.digits > maxSizeDigits {
		return errChunkSize
	}
	c.left = c.left<<4 | digit
	c.state = inSize
	return nil
}

// afterElement takes the byte behind a size, or behind an extension.
func (c *Chunks) afterElement(b byte, otherwise *Error) error {
	switch b {
	case ';':
		c.state = atExtensionName
		return c.countExtension()
	case '\r':
		c.state = afterSizeCR
		return nil
	case '\n':
		return errBareLF
	}
	return otherwise
}

// takeExtension takes a byte of an extension (RFC 9112, section 7.1.1).
func (c *Chunks) takeExtension(b byte) error {
	isToken := classes[b]&tokenByte != 0
	switch c.state {
	case atExtensionName:
		if !isToken {
			return errExtension
		}
		c.state = inExtensionName
	case inExtensionName:
		switch {
		case isToken:
		case b == '=':
			c.state = atExtensionValue
		default:
			return c.afterElement(b, errExtension)
		}
	case atExtensionValue:
		switch {
		case isToken:
			c.state = inExtensionValue
		case b == '"':
			c.state = inQuoted
		default:
			return errExtension
		}
	case inExtensionValue:
		if !isToken {
			return c.afterElement(b, errExtension)
		}
	case inQuoted: // RFC 9110, section 5.6.4
		switch {
		case b == '"':
			c.state = afterQuoted
		case b == '\\':
			c.state = inQuotedPair
		case classes[b]&valueByte == 0:
			return errExtension
		}
	case inQuotedPair:
		if classes[b]&valueByte == 0 {
			return errExtension
		}
		c.state = inQuoted
	case afterQuoted:
		return c.afterElement(b, errExtension)
	}
	return c.countExtension()
}

// countExtension holds extensions against their bound.
func (c *Chunks) countExtension() error {
	if c.extensions++; c.extensions > MaxExtensions {
		return errExtensions
	}
	return nil
}

// takeTrailer takes a byte of the trailer section, which an empty line ends. Each line is read once, when
// its last byte is there.
func (c *Chunks) takeTrailer(b byte) error {
	if len(c.section) == MaxTrailers {
		return errTrailers
	}
	c.section = append(c.section, b)
	if b != '\n' {
		return nil
	}
	line := c.section[c.parsed:]
	c.parsed = len(c.section)
	if line[0] == '\r' {
		if _, err := endOfLine(line, 0); err != nil {
			return err
		}
		return io.EOF
	}
	f, _, err := fieldLine(line, 0)
	if err != nil {
		return err
	}
	for _, name := range notInTrailers {
		if equalFold(f.Name, name) {
			return errTrailer
		}
	}
	c.Trailers = append(c.Trailers, f)
	return nil
}

// notInTrailers are fields about framing, routing, the connection, authentication, and how content is
// processed. RFC 9110, section 6.5.1, forbids to send them as trailers. They are refused and not dropped,
// because whoever sends them hopes for a server that merges them into the head.
var notInTrailers = [...]string{
	"transfer-encoding", "content-length", "host", "connection", "keep-alive", "proxy-connection", "te",
	"trailer", "upgrade", "expect", "content-encoding", "content-type", "content-range", "range", "max-forwards",
	"cache-control", "authorization", "proxy-authorization", "cookie", "if-match", "if-none-match",
	"if-modified-since", "if-unmodified-since", "if-range", "forwarded", "x-forwarded-for",
	"x-forwarded-host", "x-forwarded-proto",
}
