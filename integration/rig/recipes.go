package rig

import (
	"fmt"
	"os"
	"regexp"
	"strings"
)

// Recipe is a recipe of a page in docs: files, and the commands that use them.
type Recipe struct {
	Title string
	// Files have their contents by their names, as `cat` shows them.
	Files    map[string]string
	Commands []string
}

var (
	recipeHeading = regexp.MustCompile(`(?m)^### (\d+)\. `)
	recipeConsole = regexp.MustCompile("(?s)```console\n(.*?)```")
)

// ReadRecipes returns the recipes of a page, whose headings have numbers.
func ReadRecipes(page string) (all []Recipe, err error) {
	text, err := os.ReadFile(page)
	if err != nil {
		return nil, err
	}
	for _, section := range recipeHeading.Split(string(text), -1)[1:] {
		section, _, _ = strings.Cut(section, "\n## ")
		title, rest, _ := strings.Cut(section, "\n")
		r := Recipe{Title: title, Files: make(map[string]string)}
		for _, block := range recipeConsole.FindAllStringSubmatch(rest, -1) {
			if err := r.read(block[1]); err != nil {
				return nil, fmt.Errorf("%s: %w", title, err)
			}
		}
		all = append(all, r)
	}
	return all, nil
}

// read reads what a terminal shows.
func (r *Recipe) read(block string) error {
	file, goesOn := "", false
	for line := range strings.Lines(block) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case goesOn:
			last := &r.Commands[len(r.Commands)-1]
			*last = strings.TrimSuffix(*last, "\\") + line
		case strings.HasPrefix(line, "$ cat "):
			file = strings.TrimPrefix(line, "$ cat ")
			continue
		case strings.HasPrefix(line, "$ "):
			r.Commands, file = append(r.Commands, strings.TrimPrefix(line, "$ ")), ""
		case file == "":
			return fmt.Errorf("there is output: %s", line)
		default:
			r.Files[file] += line + "\n"
			continue
		}
		goesOn = strings.HasSuffix(line, "\\")
	}
	return nil
}
