package cli

import (
	"io"
	"os"
	"strings"

	"github.com/parachute-proxy/parachute/internal/api"
)

// readDirectives returns the directives in a file of the user's, whom the proxy need not be
// able to read it for.
func readDirectives(file string) (string, error) {
	text, err := readSmall(file, api.MaxWith)
	switch {
	case err != nil:
		return "", api.Invalid("--with: %v", err)
	case strings.TrimSpace(text) == "":
		return "", api.Invalid("--with: %s is empty", file).WithHint("to remove what the service has, use --unset with")
	}
	return text, nil
}

// readSmall returns the beginning of a file, up to one byte more than most.
func readSmall(file string, most int) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	return string(text), err
}
