package fleettest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/fleet"
	"github.com/parachute-proxy/parachute/internal/forward"
	"github.com/parachute-proxy/parachute/internal/proxy"
)

// trialApp is an app that answers with its name. It fails for clients when fails is set, and is healthy all the same.
type trialApp struct {
	addr  string
	fails atomic.Bool
}

func startTrialApp(t *testing.T, name string) *trialApp {
	a := new(trialApp)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.fails.Load() && r.Header.Get(fromClient) != "" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		_, _ = io.WriteString(w, name)
	}))
	t.Cleanup(s.Close)
	a.addr = strings.TrimPrefix(s.URL, "http://")
	return a
}

// fromClient is a field that requests of clients have, and probes have not.
const fromClient = "X-From-Client"

// visit has a client, known by its address, load a page of the service web. cookies are those that it has.
func (n *Node) visit(t *testing.T, client string, cookies ...*http.Cookie) *http.Response {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "http://web.test/", nil)
	r.RemoteAddr = client + ":1000"
	r.Header.Set("Accept", "text/html")
	r.Header.Set(fromClient, "1")
	for _, c := range cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	if err := n.Engine.ServeHTTP(w, r, "", forward.Sender{}); err != nil {
		t.Fatalf("%s: %v", n.Name, err)
	}
	return w.Result()
}

// bodyOf returns the body of an answer.
func bodyOf(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// try deploys an app to the service web in a way that how says.
func (n *Node) try(t *testing.T, app *trialApp, how func(*api.DeployRequest)) (api.DeploymentStatus, error) {
	t.Helper()
	req := api.DeployRequest{Service: "web", Targets: []string{app.addr}, Hosts: []string{"web.test"}}
	if how != nil {
		how(&req)
	}
	return n.deploy(t, req)
}

// lineup says which release of the service web serves, which is a canary, which is on standby, and what of a
// rollout everybody has to see.
func (n *Node) lineup() string {
	s, err := n.Engine.Service("web")
	if err != nil || s.Active == nil {
		return "nothing"
	}
	text := fmt.Sprintf("v%d", s.Active.Release)
	if s.Candidate != nil {
		text += fmt.Sprintf(", canary v%d", s.Candidate.Release)
	}
	if s.Standby != nil {
		text += fmt.Sprintf(", standby v%d", s.Standby.Release)
	}
	if r := s.Rollout; r != nil {
		text += fmt.Sprintf(", %s %s", r.Phase, r.Weight)
		if r.Waiting != "" {
			text += ", " + r.Waiting
		}
	}
	return text
}

// awaitLineup waits until all proxies have a line-up.
func awaitLineup(t *testing.T, nodes []*Node, want string) {
	t.Helper()
	for _, n := range nodes {
		if !within(func() bool { return n.lineup() == want }) {
			t.Fatalf("%s has %q, want %q", n.Name, n.lineup(), want)
		}
	}
}

// arrive waits for the end of a deployment.
func arrive[T any](t *testing.T, ended <-chan T) (how T) {
	t.Helper()
	select {
	case how = <-ended:
	case <-time.After(30 * time.Second):
		t.Fatal("in vain: waited for the end of the deployment")
	}
	return how
}

// awaitJudged waits until all proxies count.
func awaitJudged(t *testing.T, nodes []*Node) {
	t.Helper()
	for _, n := range nodes {
		Await(t, n.Name+" counts", func() bool {
			s, err := n.Engine.Service("web")
			return err == nil && s.Rollout != nil && s.Rollout.Evidence.Limit > 0
		})
	}
}

// awaitHistory waits until all proxies tell of releases that they have served, the newest first, with what became
// of them.
func awaitHistory(t *testing.T, nodes []*Node, want string) {
	t.Helper()
	tell := func(n *Node) string {
		h, err := n.Engine.History(t.Context(), "web")
		if err != nil {
			return err.Error()
		}
		var all []string
		for _, r := range h.Releases {
			all = append(all, strings.TrimSpace(fmt.Sprintf("v%d %s", r.Release, r.Outcome)))
		}
		return strings.Join(all, ", ")
	}
	for _, n := range nodes {
		if !within(func() bool { return tell(n) == want }) {
			t.Errorf("%s tells of %q, want %q", n.Name, tell(n), want)
		}
	}
}

// rollout changes the rollout of the service web at one of the proxies.
func (n *Node) rollout(t *testing.T, req api.RolloutRequest) api.RolloutResult {
	t.Helper()
	result, err := n.Engine.Rollout("web", req)
	if err != nil {
		t.Fatalf("%s: %s: %v", n.Name, req.Action, err)
	}
	return result
}

// Kept tests that all proxies keep the release before, and that any of them can have it serve again or go.
func Kept(t *testing.T, timing Timing, open func(t *testing.T) fleet.Store) {
	nodes := StartAll(t, 3, timing, open)
	apps := []*trialApp{startTrialApp(t, "one"), startTrialApp(t, "two"), startTrialApp(t, "three")}
	if _, err := nodes[0].try(t, apps[0], nil); err != nil {
		t.Fatal(err)
	}
	keep := func(req *api.DeployRequest) { req.Keep = true }
	s, err := nodes[1].try(t, apps[1], keep)
	if err != nil || s.Kept != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	awaitLineup(t, nodes, "v2, standby v1")
	// The one that was kept before goes, on all of them, before the deploy has ended.
	s, err = nodes[2].try(t, apps[2], keep)
	if err != nil || s.Kept != 2 || len(s.Drained) != 1 || s.Drained[0].Release != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	awaitLineup(t, nodes, "v3, standby v2")
	if result := nodes[0].rollout(t, api.RolloutRequest{Action: api.ActionAbort}); result.Serving != 2 || len(result.Drained) != 1 {
		t.Errorf("%+v", result)
	}
	awaitLineup(t, nodes, "v2")
	awaitHistory(t, nodes, "v3 reverted, v2, v1")

	if _, err := nodes[2].try(t, apps[2], keep); err != nil {
		t.Fatal(err)
	}
	nodes[1] = nodes[1].Restart(t, open(t), timing)
	Await(t, "proxy-2 is ready", nodes[1].Agent.Ready)
	awaitLineup(t, nodes, "v4, standby v2")
	if result := nodes[1].rollout(t, api.RolloutRequest{Action: api.ActionPromote}); result.Serving != 4 || len(result.Drained) != 1 {
		t.Errorf("%+v", result)
	}
	awaitLineup(t, nodes, "v4")
	for _, n := range nodes {
		if got := bodyOf(t, n.visit(t, "192.0.2.1")); got != "three" {
			t.Errorf("%s answers %q", n.Name, got)
		}
	}
}

// Canary tests that a client gets the same release from every proxy, whatever share that has, and that any proxy can
// change the share, and end the rollout.
func Canary(t *testing.T, timing Timing, open func(t *testing.T) fleet.Store) {
	nodes := StartAll(t, 3, timing, open)
	old, next := startTrialApp(t, "old"), startTrialApp(t, "next")
	if _, err := nodes[0].try(t, old, nil); err != nil {
		t.Fatal(err)
	}
	hour := api.Duration(time.Hour)
	_, err := nodes[1].try(t, next, func(req *api.DeployRequest) { req.Canary = "20%"; req.Watch = &hour })
	if api.ErrorCode(err) != api.CodeUndecided {
		t.Fatal(err)
	}
	awaitLineup(t, nodes, "v1, canary v2, canary 20%")

	clients := make(map[string][]*http.Cookie) // by what they get
	for i := range 300 {
		first := nodes[i%3].visit(t, "192.0.2.1")
		cookies := first.Cookies()
		if len(cookies) != 1 {
			t.Fatalf("%s gives %v", nodes[i%3].Name, cookies)
		}
		name := bodyOf(t, first)
		clients[name] = append(clients[name], cookies[0])
		for _, n := range nodes {
			if got := bodyOf(t, n.visit(t, "192.0.2.1", cookies[0])); got != name {
				t.Fatalf("%s answers %q to a client that has had %q", n.Name, got, name)
			}
		}
	}
	// Of 300 clients, 60 are expected, with a standard deviation of 7.
	if got := len(clients["next"]); got < 25 || got > 95 {
		t.Errorf("%d of 300 clients get the canary of 20%%", got)
	}

	nodes[2].rollout(t, api.RolloutRequest{Action: api.ActionSet, Weight: new(api.PercentOf(0.6))})
	awaitLineup(t, nodes, "v1, canary v2, canary 60%")
	for i, c := range clients["next"] {
		if got := bodyOf(t, nodes[i%3].visit(t, "192.0.2.1", c)); got != "next" {
			t.Fatalf("%s takes a client back when the share grows", nodes[i%3].Name)
		}
	}
	nodes[0].rollout(t, api.RolloutRequest{Action: api.ActionPromote, Full: false})
	awaitLineup(t, nodes, "v2, standby v1, watch 100%")
	nodes[1].rollout(t, api.RolloutRequest{Action: api.ActionPause})
	awaitLineup(t, nodes, "v2, standby v1, watch 100%, paused by hand")
	nodes[2].rollout(t, api.RolloutRequest{Action: api.ActionResume})
	awaitLineup(t, nodes, "v2, standby v1, watch 100%")

	d, err := nodes[2].Engine.Rollback(t.Context(), "web", api.RollbackRequest{})
	if err == nil {
		_, err = d.Wait(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	awaitLineup(t, nodes, "v1")
	awaitHistory(t, nodes, "v2 reverted, v1")
	for _, n := range nodes {
		if got := bodyOf(t, n.visit(t, "192.0.2.1", clients["next"][0])); got != "old" {
			t.Errorf("%s answers %q", n.Name, got)
		}
	}
}

// Steps tests that a rollout goes on by itself to its end, whichever proxy it was asked of, also as a slow start, and
// that this proxy tells how.
func Steps(t *testing.T, timing Timing, open func(t *testing.T) fleet.Store) {
	nodes := StartAll(t, 3, timing, open)
	apps := []*trialApp{startTrialApp(t, "one"), startTrialApp(t, "two"), startTrialApp(t, "three")}
	if _, err := nodes[0].try(t, apps[0], nil); err != nil {
		t.Fatal(err)
	}
	short := api.Duration(300 * time.Millisecond)
	s, err := nodes[2].try(t, apps[1], func(req *api.DeployRequest) {
		req.Steps, req.Watch, req.OnInconclusive = []string{"10%/300ms", "50%/300ms"}, &short, api.InconclusivePromote
	})
	if err != nil || s.Release != 2 || len(s.Drained) != 1 || s.Drained[0].Release != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	awaitLineup(t, nodes, "v2")
	s, err = nodes[1].try(t, apps[2], func(req *api.DeployRequest) { req.SlowStart = &short })
	if err != nil || s.Release != 3 || len(s.Drained) != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	awaitLineup(t, nodes, "v3")
	awaitHistory(t, nodes, "v3, v2, v1")
}

// Driver tests that another proxy has a rollout go on if the one dies that has had it go on.
func Driver(t *testing.T, timing Timing, open func(t *testing.T) fleet.Store) {
	nodes := StartAll(t, 3, timing, open)
	old, next := startTrialApp(t, "old"), startTrialApp(t, "next")
	if _, err := nodes[0].try(t, old, nil); err != nil {
		t.Fatal(err)
	}
	Await(t, "proxy-1 drives", func() bool {
		return nodes[0].Agent.Drives("web") && !nodes[1].Agent.Drives("web") && !nodes[2].Agent.Drives("web")
	})
	watch := api.Duration(time.Second)
	ended := make(chan error, 1)
	go func() {
		_, err := nodes[2].try(t, next, func(req *api.DeployRequest) { req.Watch, req.OnInconclusive = &watch, api.InconclusivePromote })
		ended <- err
	}()
	awaitLineup(t, nodes, "v2, standby v1, watch 100%")
	nodes[0].Crash()
	Await(t, "proxy-2 drives", func() bool { return nodes[1].Agent.Drives("web") })
	Await(t, "proxy-1 is forgotten", func() bool { return nodes[1].Agent.Forget(t.Context(), "proxy-1") == nil })
	if err := arrive(t, ended); err != nil {
		t.Error(err)
	}
	awaitLineup(t, nodes[1:], "v2")
	nodes[0] = nodes[0].Restart(t, open(t), timing)
	awaitLineup(t, nodes, "v2")
}

// Verdict tests that a release is judged by what all proxies have counted, and leaves all of them.
func Verdict(t *testing.T, timing Timing, open func(t *testing.T) fleet.Store) {
	nodes := StartAll(t, 3, timing, open)
	old, bad := startTrialApp(t, "old"), startTrialApp(t, "bad")
	if _, err := nodes[0].try(t, old, nil); err != nil {
		t.Fatal(err)
	}
	hour := api.Duration(time.Hour)
	type outcome struct {
		s   api.DeploymentStatus
		err error
	}
	ended := make(chan outcome, 1)
	go func() {
		s, err := nodes[2].try(t, bad, func(req *api.DeployRequest) { req.Watch = &hour })
		ended <- outcome{s, err}
	}()
	awaitLineup(t, nodes, "v2, standby v1, watch 100%")
	awaitJudged(t, nodes)
	bad.fails.Store(true)
	for i, n := range nodes { // one failure is not enough for any of them
		n.visit(t, fmt.Sprintf("192.0.2.%d", i))
	}
	o := arrive(t, ended)
	if api.ErrorCode(o.err) != api.CodeReverted || o.s.State != api.StateReverted || len(o.s.Drained) != 1 {
		t.Fatalf("%+v, %v", o.s, o.err)
	}
	m := regexp.MustCompile(`(\d+) of (\d+) requests to v2 failed`).FindStringSubmatch(o.err.Error())
	if m == nil {
		t.Fatal(o.err)
	}
	if failed, _ := strconv.Atoi(m[1]); failed < 2 || m[1] != m[2] {
		t.Errorf("it is said of all proxies: %v", o.err)
	}
	awaitLineup(t, nodes, "v1")
	awaitHistory(t, nodes, "v2 reverted, v1")
}

// RestartedCounts tests that all proxies show the same counts, and that those of a proxy that is restarted stay, for
// itself as well.
func RestartedCounts(t *testing.T, timing Timing, open func(t *testing.T) fleet.Store) {
	nodes := StartAll(t, 3, timing, open)
	old, next := startTrialApp(t, "old"), startTrialApp(t, "next")
	if _, err := nodes[0].try(t, old, nil); err != nil {
		t.Fatal(err)
	}
	hour := api.Duration(time.Hour)
	nodes[1].visit(t, "192.0.2.1")
	d, err := nodes[1].Engine.Deploy(api.DeployRequest{Service: "web", Targets: []string{next.addr}, Hosts: []string{"web.test"}, Watch: &hour, Detach: true}.Patch())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Cancel()
	awaitLineup(t, nodes, "v2, standby v1, watch 100%")
	counts := func(n *Node) int64 {
		s, err := n.Engine.Service("web")
		if err != nil || s.Rollout == nil {
			return -1
		}
		return s.Rollout.Evidence.Requests
	}
	visits, most := int64(0), make([]int64, len(nodes))
	visit := func(i, times int) {
		for range times {
			nodes[i].visit(t, "192.0.2.1")
			visits++
		}
	}
	awaitCounts := func() {
		t.Helper()
		for i, n := range nodes {
			if !within(func() bool {
				now := counts(n)
				if now >= 0 && now < most[i] {
					t.Errorf("%s counts %d, and has counted %d before", n.Name, now, most[i])
				}
				most[i] = max(most[i], now)
				return now == visits
			}) {
				t.Fatalf("%s counts %d, want %d", n.Name, counts(n), visits)
			}
		}
	}
	awaitJudged(t, nodes)
	visit(0, 5)
	visit(1, 4)
	awaitCounts()
	nodes[0] = nodes[0].Restart(t, open(t), timing)
	most[0] = 0 // it has heard of nothing yet
	Await(t, "proxy-1 is ready", nodes[0].Agent.Ready)
	awaitLineup(t, nodes, "v2, standby v1, watch 100%")
	awaitCounts()
	awaitJudged(t, nodes)
	visit(0, 2)
	visit(2, 1)
	awaitCounts()
}

// MissingVerdict tests that a release which fails leaves the proxies that are there, although another one is not
// heard of, which is told.
func MissingVerdict(t *testing.T, timing Timing, open func(t *testing.T) fleet.Store) {
	nodes := StartAll(t, 3, timing, open)
	old, bad := startTrialApp(t, "old"), startTrialApp(t, "bad")
	if _, err := nodes[0].try(t, old, nil); err != nil {
		t.Fatal(err)
	}
	hour := api.Duration(time.Hour)
	ended := make(chan error, 1)
	go func() {
		_, err := nodes[1].try(t, bad, func(req *api.DeployRequest) { req.Watch = &hour })
		ended <- err
	}()
	awaitLineup(t, nodes, "v2, standby v1, watch 100%")
	nodes[2].Link.SetCut(true)
	Await(t, "proxy-3 is missed", func() bool { return nodes[0].Misses("proxy-3") && nodes[1].Misses("proxy-3") })
	if _, err := nodes[0].Engine.Rollout("web", api.RolloutRequest{Action: api.ActionPromote}); api.ErrorCode(err) != api.CodeFleet {
		t.Errorf("a release is trusted without a proxy: %v", err)
	}
	awaitJudged(t, nodes[:2])
	bad.fails.Store(true)
	for i := range 8 {
		nodes[i%2].visit(t, fmt.Sprintf("192.0.2.%d", i))
	}
	err := arrive(t, ended)
	if api.ErrorCode(err) != api.CodeReverted || !strings.Contains(err.Error(), "proxy-3: it has not been heard of") {
		t.Error(err)
	}
	awaitLineup(t, nodes[:2], "v1")
	awaitLineup(t, nodes[2:], "v2, standby v1, watch 100%")
	nodes[2].Link.SetCut(false)
	awaitLineup(t, nodes, "v1")
	awaitHistory(t, nodes, "v2 reverted, v1")
}

// Replaced tests that a deploy to another proxy takes the place of what is tried, of a watched release and of a canary,
// and that all proxies tell the same of it.
func Replaced(t *testing.T, timing Timing, open func(t *testing.T) fleet.Store) {
	nodes := StartAll(t, 3, timing, open)
	var apps []*trialApp
	for i := range 4 {
		apps = append(apps, startTrialApp(t, fmt.Sprint(i+1)))
	}
	if _, err := nodes[0].try(t, apps[0], nil); err != nil {
		t.Fatal(err)
	}
	hour := api.Duration(time.Hour)
	watched := make(chan error, 1)
	go func() {
		_, err := nodes[0].try(t, apps[1], func(req *api.DeployRequest) { req.Watch = &hour })
		watched <- err
	}()
	awaitLineup(t, nodes, "v2, standby v1, watch 100%")
	if _, err := nodes[1].try(t, apps[2], func(req *api.DeployRequest) { req.Canary = "10%" }); api.ErrorCode(err) != api.CodeUndecided {
		t.Fatal(err)
	}
	if err := arrive(t, watched); api.ErrorCode(err) != api.CodeSuperseded || !strings.Contains(err.Error(), "v2 was still watched when v3 took its place") {
		t.Error(err)
	}
	awaitLineup(t, nodes, "v2, canary v3, canary 10%")
	s, err := nodes[2].try(t, apps[3], nil)
	if err != nil || s.Release != 4 || len(s.Drained) != 2 {
		t.Fatalf("%+v, %v", s, err)
	}
	awaitLineup(t, nodes, "v4")
	awaitHistory(t, nodes, "v4, v3 aborted, v2, v1")
}

// AllRestarted tests that a rollout goes on after all proxies have been restarted.
func AllRestarted(t *testing.T, timing Timing, open func(t *testing.T) fleet.Store) {
	nodes := StartAll(t, 3, timing, open)
	old, next := startTrialApp(t, "old"), startTrialApp(t, "next")
	if _, err := nodes[0].try(t, old, nil); err != nil {
		t.Fatal(err)
	}
	d, err := nodes[2].Engine.Deploy(api.DeployRequest{Service: "web", Targets: []string{next.addr}, Hosts: []string{"web.test"}, Steps: []string{"20%/1h", "50%/100ms"}, Detach: true}.Patch())
	if err != nil {
		t.Fatal(err)
	}
	awaitLineup(t, nodes, "v1, canary v2, canary 20%")
	for i, n := range nodes {
		nodes[i] = n.Restart(t, open(t), timing)
	}
	if _, err := d.Wait(t.Context()); api.ErrorCode(err) != api.CodeUndecided || !strings.Contains(err.Error(), "goes on on the other proxies of the fleet") {
		t.Error(err)
	}
	for _, n := range nodes {
		Await(t, n.Name+" is ready", n.Agent.Ready)
	}
	awaitLineup(t, nodes, "v1, canary v2, canary 20%")
	nodes[1].rollout(t, api.RolloutRequest{Action: api.ActionPromote})
	// The last step has had too few requests to be judged.
	awaitLineup(t, nodes, "v1, canary v2, canary 50%, v2 had 0 of the 20 requests that it takes to judge it")
	nodes[2].rollout(t, api.RolloutRequest{Action: api.ActionPromote})
	awaitLineup(t, nodes, "v2")
	awaitHistory(t, nodes, "v2, v1")
}

// DrainedEverywhere tests that a deploy whose release was watched has not ended before the release before has drained on
// every proxy.
func DrainedEverywhere(t *testing.T, timing Timing, open func(t *testing.T) fleet.Store) {
	nodes := StartAll(t, 3, timing, open)
	next := startTrialApp(t, "next")
	arrived, finish := make(chan struct{}, 1), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get(fromClient) != "" {
			arrived <- struct{}{}
			<-finish
		}
	}))
	t.Cleanup(slow.Close)
	if _, err := nodes[0].try(t, &trialApp{addr: strings.TrimPrefix(slow.URL, "http://")}, nil); err != nil {
		t.Fatal(err)
	}
	var visits sync.WaitGroup
	visits.Go(func() { nodes[1].visit(t, "192.0.2.1") })
	arrive(t, arrived)
	watch := api.Duration(200 * time.Millisecond)
	ended := make(chan error, 1)
	go func() {
		_, err := nodes[2].try(t, next, func(req *api.DeployRequest) { req.Watch, req.OnInconclusive = &watch, api.InconclusivePromote })
		ended <- err
	}()
	awaitLineup(t, nodes, "v2, standby v1, watch 100%")
	awaitLineup(t, nodes, "v2")
	Await(t, "proxy-3 knows that proxy-2 drains", func() bool {
		_, others := nodes[2].Agent.Reports()
		return slices.ContainsFunc(others, func(r proxy.Told) bool { return slices.Equal(r.Service("web").Draining, []int{1}) })
	})
	select {
	case err := <-ended:
		t.Errorf("the deploy has ended while proxy-2 drains: %v", err)
	default:
	}
	close(finish)
	visits.Wait()
	if err := arrive(t, ended); err != nil {
		t.Error(err)
	}
}
