package proxy

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/errorpage"
)

// Bounds of the error pages of a service, which are stored with each of its releases.
const (
	maxErrorPages     = 64
	maxErrorPageBytes = 512 << 10
)

// readErrorPages returns the files of [api.Options.ErrorPages] by their names, if pages can be made
// of them. Its errors are for who asked for a deployment.
func readErrorPages(dir string) (map[string]string, error) {
	if dir == "" {
		return nil, nil
	}
	files, err := readPages(dir)
	if err == nil {
		_, err = errorpage.Parse(files)
	}
	if err == nil {
		return files, nil
	}
	hint := api.Advise("%s must be a directory on the proxy's machine with templates such as 503.html", api.Field("error_pages"))
	if errors.Is(err, fs.ErrPermission) {
		hint = api.Advise("let the user of the proxy read the directory and the files in it; see %s", api.Field("error_pages"))
	}
	return nil, api.Invalid("the error pages cannot be used: %s", api.Printable(err.Error())).WithHint("%s", hint)
}

// readPages returns the files of a directory whose names end in .html.
func readPages(dir string) (map[string]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	files, room := make(map[string]string), int64(maxErrorPageBytes)
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if !strings.HasSuffix(entry.Name(), ".html") {
			continue
		}
		if info, err := os.Stat(path); err != nil {
			return nil, err
		} else if !info.Mode().IsRegular() {
			continue
		}
		text, err := readUpTo(path, room+1)
		if err != nil {
			return nil, err
		}
		files[entry.Name()] = text
		if room -= int64(len(text)); room < 0 || len(files) > maxErrorPages {
			return nil, fmt.Errorf("%s has more than %d files or %d KiB of them", dir, maxErrorPages, maxErrorPageBytes>>10)
		}
	}
	return files, nil
}

// readUpTo returns at most so many bytes of a file.
func readUpTo(path string, most int64) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, most))
	return string(b), err
}
