package errorpage

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Bounds of the pages of a service, which are stored with each of its releases: how many files there
// may be, and how many bytes they may have in all.
const (
	MaxFiles = 64
	MaxBytes = 512 << 10
)

// Read returns the files of a directory whose names end in .html, by their names, if pages can be
// made of them: see [Parse]. There are at most 64, with 512 KiB in all.
func Read(dir string) (map[string]string, error) {
	files, err := readFiles(dir)
	if err == nil {
		_, err = Parse(files)
	}
	return files, err
}

// readFiles returns the files of a directory whose names end in .html.
func readFiles(dir string) (map[string]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	files, room := make(map[string]string), int64(MaxBytes)
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
		if room -= int64(len(text)); room < 0 || len(files) > MaxFiles {
			return nil, fmt.Errorf("%s has more than %d files or %d KiB of them", dir, MaxFiles, MaxBytes>>10)
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
