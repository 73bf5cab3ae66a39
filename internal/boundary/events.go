package boundary

// Events finds the ends of events: blank lines, with any of the three line
// ends that the format allows (HTML standard, section 9.2.5, "Parsing an event
// stream"). A comment, which is a line that begins with a colon and often a sign of
// life, belongs to no event.
type Events struct {
	// inLine says that the current line has a character in it, inEvent that an
	// event has begun and not ended, afterCR that a line feed would belong to
	// the line end before it.
	inLine, inEvent, afterCR bool
}

func (e *Events) AtBoundary() bool { return !e.inLine && !e.inEvent }

func (e *Events) Scan(b []byte) (last int) {
	for i, c := range b {
		switch {
		case c == '\n' && e.afterCR:
			e.afterCR = false
		case c == '\n' || c == '\r':
			e.afterCR = c == '\r'
			if !e.inLine {
				e.inEvent = false
			}
			e.inLine = false
		default:
			e.inEvent = e.inEvent || !e.inLine && c != ':'
			e.inLine, e.afterCR = true, false
		}
		if e.AtBoundary() {
			last = i + 1
		}
	}
	return last
}
