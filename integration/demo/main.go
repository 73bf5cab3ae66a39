// Command demo shows deploys under load: it starts the proxy and two instances
// of the sample application on free loopback ports, sends steady traffic, deploys
// back and forth, and ends with the number of requests that failed. Its exit code
// is 0 only if that number is 0.
package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
)

func main() {
	deploys := flag.Int("deploys", 6, "number of deploys")
	users := flag.Int("users", 20, "users that send plain requests")
	flag.Parse()
	failed, err := demo(*deploys, *users)
	rig.RemoveBinaries()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
	if failed > 0 {
		os.Exit(1)
	}
}

func demo(deploys, users int) (failed int64, err error) {
	var apps []*rig.Example
	for _, version := range []string{"1", "2"} {
		app, err := rig.StartExample("web-"+version, version)
		if err != nil {
			return 0, err
		}
		defer app.Stop()
		apps = append(apps, app)
	}
	proxy, err := rig.NewProxy()
	if err != nil {
		return 0, err
	}
	defer proxy.End(20 * time.Second)
	if err := proxy.Start(); err != nil {
		return 0, err
	}
	fmt.Printf("The proxy serves %s; web-1 is %s, web-2 is %s.\n\n", proxy.URL(), apps[0].Addr, apps[1].Addr)
	if err := deploy(proxy, apps[0]); err != nil {
		return 0, err
	}

	fmt.Printf("\nLoad: %d users, a slow request, uploads, a WebSocket and an event stream.\n", users)
	load := rig.StartLoad(proxy.Addr(), users, 5*time.Millisecond)
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	for i := 1; i <= deploys; i++ {
		select {
		case <-interrupted:
			i = deploys
			continue
		case <-time.After(500 * time.Millisecond):
		}
		fmt.Println()
		if err := deploy(proxy, apps[i%2]); err != nil {
			load.Stop()
			return 0, err
		}
	}
	load.Stop()
	return report(load), nil
}

// deploy runs the command as a person would, and shows it.
func deploy(proxy *rig.Proxy, app *rig.Example) error {
	// Streams live on for ten seconds by default, which is long to watch.
	args := []string{"deploy", app.Addr, "--stream-timeout", "1s"}
	fmt.Printf("$ parachute deploy %s --stream-timeout 1s        # %s\n", app.Addr, app.Name)
	cmd, err := proxy.Command(args...)
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
	return cmd.Run()
}

func report(load *rig.Load) (failed int64) {
	requests, failed := load.Requests()
	fmt.Println()
	answeredBy := load.AnsweredBy()
	for _, instance := range slices.Sorted(maps.Keys(answeredBy)) {
		fmt.Printf("%s answered %d\n", instance, answeredBy[instance])
	}
	fmt.Printf("%d streams were closed politely\n", load.StreamsClosed())
	for _, err := range load.Errors() {
		fmt.Println("failed:", err)
	}
	fmt.Printf("%d requests, %d failed\n", requests, failed)
	return failed
}
