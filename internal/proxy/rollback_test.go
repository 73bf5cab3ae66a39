package proxy

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// rollback goes back to a release, and waits for it.
func (e *testEngine) rollback(name string, req api.RollbackRequest) (api.DeploymentStatus, error) {
	e.t.Helper()
	d, err := e.Rollback(e.t.Context(), name, req)
	if err != nil {
		return api.DeploymentStatus{}, err
	}
	return wait(e.t, d)
}

// releases returns the numbers of the releases that are remembered.
func (e *testEngine) releases(name string) (numbers []int) {
	e.t.Helper()
	h, err := e.History(e.t.Context(), name)
	if err != nil {
		e.t.Fatal(err)
	}
	for _, p := range h.Releases {
		numbers = append(numbers, p.Release)
	}
	return numbers
}

// A rollback is a new release with the targets and all settings of an old one.
func TestRollbackGoesBackToWhatServedBefore(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	first, second := testkit.StartApp(t, "first"), testkit.StartApp(t, "second")
	req := requestFor("app", first)
	req.Sticky, req.Note = true, &api.Note{Label: "1.0", Commit: "abc", By: "ada"}
	e.deploy(req)
	e.deployPatch(api.Patch{"service": "app", "targets": []string{second.Target}, "sticky": false})
	stop := e.hammer(4, "h", "/")
	status, err := e.rollback("app", api.RollbackRequest{Note: api.Note{By: "bob"}})
	stop()
	if err != nil || status.Release != 3 || status.From != 1 || status.Previous != 2 {
		t.Fatalf("status %+v, %v, want v3, which is v1 again", status, err)
	}
	e.wantAnswer("h", "/", "first")
	s, err := e.Service("app")
	if want := (api.Note{Label: "1.0", Commit: "abc", By: "bob"}); err != nil || !s.Active.Options.Sticky || s.Active.From != 1 || s.Active.Note != want {
		t.Errorf("it serves as %+v, %v", s.Active, err)
	}
	// The next one goes back to what the rollback has replaced.
	if _, err := e.rollback("app", api.RollbackRequest{}); err != nil {
		t.Fatal(err)
	}
	e.wantAnswer("h", "/", "second")
	if _, err := e.rollback("app", api.RollbackRequest{To: 1}); err != nil {
		t.Fatal(err)
	}
	e.wantAnswer("h", "/", "first")
	e.checkConsistent()
	// History and rollbacks survive a restart.
	again := loaded(t, e.store)
	if got := again.releases("app"); !slices.Equal(got, []int{5, 4, 3, 2, 1}) {
		t.Errorf("releases %v", got)
	}
	if s, _ := again.Service("app"); s.Active.From != 1 || s.Active.Note.Label != "1.0" {
		t.Errorf("after a restart it serves as %+v", s.Active)
	}
	if _, err := again.rollback("app", api.RollbackRequest{To: 2}); err != nil {
		t.Fatal(err)
	}
	again.wantAnswer("h", "/", "second")
}

// What serves stays, and it is said what to do, soon.
func TestRollbackToInstancesThatAreGoneChangesNothing(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	first, second := testkit.StartApp(t, "first"), testkit.StartApp(t, "second")
	e.deploy(requestFor("app", first))
	e.deploy(requestFor("app", second))
	first.Kill()
	start := time.Now()
	_, err := e.rollback("app", api.RollbackRequest{})
	wantCode(t, err, api.CodeNotHealthy)
	if failed := api.AsError(err); !strings.Contains(failed.Hint, "start them again") {
		t.Errorf("error %q, hint %q", failed.Message, failed.Hint)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %s to find out", took)
	}
	e.wantAnswer("h", "/", "second")
	e.checkConsistent()
}

func TestRollbackSaysWhatIsRemembered(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	a := testkit.StartApp(t, "app")
	_, err := e.rollback("app", api.RollbackRequest{})
	wantCode(t, err, api.CodeNotFound)
	e.deploy(requestFor("app", a))
	_, err = e.rollback("app", api.RollbackRequest{})
	wantCode(t, err, api.CodeNotFound)
	for range api.MaxPastReleases + 2 {
		e.deploy(requestFor("app", a))
	}
	if got := e.releases("app"); len(got) != api.MaxPastReleases || got[0] != 23 || got[19] != 4 {
		t.Errorf("releases %v, want the last %d", got, api.MaxPastReleases)
	}
	_, err = e.rollback("app", api.RollbackRequest{To: 3})
	wantCode(t, err, api.CodeNotFound)
	if hint := api.AsError(err).Hint; !strings.HasPrefix(hint, "remembered are v4, v5,") {
		t.Errorf("hint %q", hint)
	}
	_, err = e.rollback("app", api.RollbackRequest{To: 23})
	wantCode(t, err, api.CodeInvalid)
	if _, err := e.Remove("app", api.RemoveRequest{}); err != nil {
		t.Fatal(err)
	}
	if len(e.store.histories) != 0 {
		t.Error("the history of a removed service is still there")
	}
}

// A history that cannot be read costs the service nothing.
func TestHistoryThatCannotBeReadBeginsAnew(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"torn": `{"format": 1, "rel`, "newer": `{"format": 2}`} {
		t.Run(name, func(t *testing.T) {
			e := newTestEngine(t)
			a := testkit.StartApp(t, "app")
			e.deploy(requestFor("app", a))
			_ = e.store.SaveHistory(t.Context(), "app", []byte(text))
			if got := e.releases("app"); !slices.Equal(got, []int{1}) {
				t.Errorf("releases %v", got)
			}
			e.deploy(requestFor("app", a))
			if got := e.releases("app"); !slices.Equal(got, []int{2, 1}) {
				t.Errorf("releases %v", got)
			}
		})
	}
}
