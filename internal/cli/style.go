package cli

// style is how text looks on a terminal.
type style struct{ color bool }

func (s style) paint(code, text string) string {
	if !s.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s style) green(text string) string { return s.paint("32", text) }

func (s style) red(text string) string { return s.paint("31", text) }

func (s style) dim(text string) string { return s.paint("2", text) }

func (s style) bold(text string) string { return s.paint("1", text) }
