// Command reliability counts the requests that proxies lose when their operator reloads, upgrades
// or restarts them: parachute, Caddy's reverse_proxy, kamal-proxy, nginx and HAProxy, under the same
// clients, which repeat nothing. `make reliability` runs it; docs/RELIABILITY.md has its tables.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"github.com/parachute-proxy/parachute/bench/internal/peer"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "reliability: %v\n", err)
		os.Exit(1)
	}
}

// options say what is tried.
type options struct {
	// binary is the path of parachute, page that of a page that gets the tables, if not empty.
	binary, page string
	// proxies and changes match the names of those that are tried.
	proxies, changes *regexp.Regexp
	// times is how often each change is made, and clients how many there are of each class.
	times, clients int
}

func parse(args []string) (o options, err error) {
	flags := flag.NewFlagSet("reliability", flag.ContinueOnError)
	flags.StringVar(&o.binary, "parachute", "../bin/parachute", "the parachute `binary`")
	flags.StringVar(&o.page, "page", "", "Markdown `file` that has the tables between two comments: it gets the new ones")
	proxies := flags.String("proxies", "", "try only proxies whose name matches this `regexp`; parachute always takes part")
	changes := flags.String("changes", "", "make only changes whose name matches this `regexp`: reload, upgrade or restart")
	flags.IntVar(&o.times, "times", 20, "how `often` each change is made")
	flags.IntVar(&o.clients, "clients", 2, "how many clients there are of each class")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	var errProxies, errChanges error
	o.proxies, errProxies = regexp.Compile(*proxies)
	o.changes, errChanges = regexp.Compile(*changes)
	o.binary, err = filepath.Abs(o.binary)
	return o, errors.Join(errProxies, errChanges, err)
}

func run(ctx context.Context, args []string, out io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	// The commands that are run are those of the same program.
	if err := os.Setenv("PARACHUTE_BIN", o.binary); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "parachute-reliability-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	certificate, err := peer.NewCertificate(dir)
	if err != nil {
		return err
	}
	upstream, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() { _ = http.Serve(upstream, http.HandlerFunc(answer)) }()
	proxies, err := findProxies(ctx, peer.Setup{Dir: dir, Upstream: upstream.Addr().String(), Certificate: certificate}, o, out)
	if err != nil {
		return err
	}
	var tables strings.Builder
	for _, c := range changes {
		if !o.changes.MatchString(string(c)) {
			continue
		}
		t, err := measure(ctx, proxies, c, o)
		if err != nil {
			return err
		}
		t.write(io.MultiWriter(out, &tables), o.times)
	}
	if o.page == "" {
		return nil
	}
	return replaceTables(o.page, versions(proxies)+tables.String())
}

// measure makes a change of each proxy that has such a thing.
func measure(ctx context.Context, proxies []known, c change, o options) (*table, error) {
	t := &table{change: c, lost: make(map[string]map[string]string)}
	for _, p := range proxies {
		if p.change(c) == nil {
			continue
		}
		s, err := suffer(ctx, p, c, o.times, o.clients)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", p.name(), c, err)
		}
		t.add(p.name(), s)
	}
	return t, nil
}

// What is between the two is made by this program.
const (
	beginTables = "<!-- made by `make reliability` -->\n"
	endTables   = "<!-- end -->\n"
)

// replaceTables puts tables into a page.
func replaceTables(page, tables string) error {
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(text), beginTables)
	_, after, ended := strings.Cut(rest, endTables)
	if !found || !ended {
		return fmt.Errorf("%s has no place for the tables: %q and %q", page, beginTables, endTables)
	}
	return os.WriteFile(page, []byte(before+beginTables+tables+endTables+after), 0o644)
}

// versions says which proxies were tried.
func versions(proxies []known) string {
	var all []string
	for _, p := range proxies {
		all = append(all, p.name()+" "+p.version)
	}
	return strings.Join(all, "; ") + ".\n"
}

// answer is the application: it reads the request, and says yes.
func answer(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	_, _ = io.WriteString(w, "Hello, World!")
}
