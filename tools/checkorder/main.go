// Command checkorder tells how many of the uses between the files of a package run back up,
// and fails if those are more than a tenth.
//
// A file uses another one if it names something that is declared there: a function, a method,
// a type, a field, a constant or a variable. The compiler's types say so. However often it
// does, and however much of it, that counts as one use. The files are put into the order in
// which the fewest uses run back up: from a file to one above it. A search finds that order,
// so what it tells is at most a little more than there is.
package main

import (
	"fmt"
	"os"
	"strings"
)

// limit is the share of uses that may run back up. It is well above what there is, so that
// two types may know each other where that is the plain way to write it.
const limit = 0.10

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: checkorder FOLDER...")
		os.Exit(2)
	}
	failed := false
	for _, dir := range os.Args[1:] {
		files, uses, err := load(dir)
		if err != nil {
			fmt.Fprintln(os.Stderr, "checkorder:", err)
			os.Exit(2)
		}
		back := upward(uses, order(uses))
		total := 0
		for _, of := range uses {
			total += len(of)
		}
		fmt.Printf("%s: %d files, %d uses, %d back up\n", dir, len(files), total, len(back))
		if float64(len(back)) <= limit*float64(total) {
			continue
		}
		failed = true
		for _, use := range back {
			names := uses[use.from][use.to]
			fmt.Fprintf(os.Stderr, "checkorder: %s uses %s: %s\n", files[use.from], files[use.to], strings.Join(names, ", "))
		}
	}
	if failed {
		fmt.Fprintf(os.Stderr, "checkorder: more than %.0f %% of the uses run back up: move what the files below use of those above, or split them\n", 100*limit)
		os.Exit(1)
	}
}
