package errorpage

import (
	"fmt"
	"io"
	"io/fs"
	"os"
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

// readFiles returns the files of a directory whose names end in .html. Links lead nowhere outside of it:
// what is read is shown to everybody.
func readFiles(dir string) (map[string]string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, err
	}
	files, room := make(map[string]string), int64(MaxBytes)
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".html") {
			continue
		}
		if info, err := root.Stat(entry.Name()); err != nil {
			return nil, err
		} else if !info.Mode().IsRegular() {
			continue
		}
		text, err := readUpTo(root, entry.Name(), room+1)
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
func readUpTo(root *os.Root, name string, most int64) (string, error) {
	file, err := root.Open(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, most))
	return string(b), err
}
