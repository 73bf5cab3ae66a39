package boundary

// Scanner finds the places at which a stream of bytes can be ended
// without tearing something apart.
type Scanner interface {
	// Scan moves over b and returns the offset behind the last boundary in it, or
	// 0 if it has none.
	Scan(b []byte) int
	// AtBoundary reports whether everything scanned so far ends on a boundary.
	AtBoundary() bool
}

// Anywhere is for streams whose bytes cannot be understood, such as compressed
// ones: they end where the target flushed them.
type Anywhere struct{}

func (Anywhere) AtBoundary() bool { return true }

func (Anywhere) Scan(b []byte) int { return len(b) }
