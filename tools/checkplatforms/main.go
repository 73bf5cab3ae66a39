// Command checkplatforms type-checks packages and their tests for other systems. It finds what a
// build for them would find, such as a name that is there on Linux alone, in a tenth of the time:
// nothing has to be compiled, and of other packages, bodies of functions are not looked at.
//
//	checkplatforms -tags a,b DIRECTORY linux/arm64,windows/amd64 ./...
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/tools/go/packages"
)

func main() {
	tags := flag.String("tags", "", "build tags, separated by commas")
	flag.Parse()
	if flag.NArg() < 3 {
		fmt.Fprintln(os.Stderr, "usage: checkplatforms [-tags TAGS] DIRECTORY GOOS/GOARCH[,...] PACKAGES")
		os.Exit(2)
	}
	failed := false
	for platform := range strings.SplitSeq(flag.Arg(1), ",") {
		start := time.Now()
		problems, count, err := check(flag.Arg(0), platform, *tags, flag.Args()[2:])
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", platform, err)
			os.Exit(1)
		}
		for _, problem := range problems {
			fmt.Printf("%s: %s\n", platform, problem)
			failed = true
		}
		fmt.Printf("%s: %d packages in %s\n", platform, count, time.Since(start).Round(time.Second))
	}
	if failed {
		os.Exit(1)
	}
}

// check type-checks packages of a directory as a build for a platform has them. It returns what is wrong with them,
// and with what they import, and how many packages that are.
func check(dir, platform, tags string, patterns []string) (problems []string, count int, err error) {
	system, processor, ok := strings.Cut(platform, "/")
	if !ok {
		return nil, 0, fmt.Errorf("a platform is GOOS/GOARCH")
	}
	loaded, err := packages.Load(&packages.Config{
		Dir:        dir,
		Mode:       packages.NeedName | packages.NeedImports | packages.NeedDeps | packages.NeedTypes | packages.NeedSyntax | packages.NeedTypesInfo | packages.NeedTypesSizes,
		Env:        append(os.Environ(), "GOOS="+system, "GOARCH="+processor, "CGO_ENABLED=0"),
		BuildFlags: []string{"-tags=" + tags},
		Tests:      true,
	}, patterns...)
	if err != nil {
		return nil, 0, err
	}
	if len(loaded) == 0 {
		return nil, 0, fmt.Errorf("no packages match %s", strings.Join(patterns, " "))
	}
	packages.Visit(loaded, nil, func(p *packages.Package) {
		count++
		for _, e := range p.Errors {
			problems = append(problems, e.Error())
		}
	})
	return problems, count, nil
}
