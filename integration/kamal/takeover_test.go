package kamal

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/integration/rig"
)

// TestStateOfKamalProxyIsTakenOver on its directory, and is there for the way back.
func TestStateOfKamalProxyIsTakenOver(t *testing.T) {
	t.Parallel()
	one, two := startApp(t, "one"), startApp(t, "two")
	theirs := newServer(t, kamalProxy(t)).start()
	pair := certificateFiles(t, "tls.test")
	theirs.do("deploy", "web", "--target="+one.addr(), "--host=app.test")
	theirs.do("deploy", "api", "--target="+two.addr(), "--host=app.test", "--path-prefix=/api")
	theirs.do("deploy", "down", "--target="+one.addr(), "--host=down.test")
	theirs.do("stop", "down", "--message=Back at noon")
	theirs.do("deploy", "rolled", "--target="+one.addr(), "--host=rolled.test")
	theirs.do("rollout", "deploy", "rolled", "--target="+two.addr())
	theirs.do("rollout", "set", "rolled", "--percent=0", "--list=vip")
	theirs.do("deploy", "tls", "--target="+one.addr(), "--host=tls.test", "--tls", "--tls-certificate-path="+pair[0], "--tls-private-key-path="+pair[1])
	theirs.stop()
	saved, err := os.ReadFile(filepath.Join(theirs.data(), "kamal-proxy.state"))
	must(t, err)

	check := func(s *server) {
		t.Helper()
		s.expect("app.test", "/x", http.StatusOK, `"App":"one"`)
		s.expect("app.test", "/api/x", http.StatusOK, `"URI":"/x"`)
		s.expect("app.test", "/api/x", http.StatusOK, `"App":"two"`)
		s.expect("down.test", "/x", http.StatusServiceUnavailable, "Back at noon")
		s.expect("rolled.test", "/x", http.StatusOK, `"App":"one"`)
		s.expect("rolled.test", "/x", http.StatusOK, `"App":"two"`, "Cookie", "kamal-rollout=vip")
		s.expect("tls.test", "/x", http.StatusMovedPermanently, "")
	}
	ours := newServer(t, parachute(t))
	must(t, os.RemoveAll(ours.home))
	must(t, os.Rename(theirs.home, ours.home))
	plan := ours.parachute("import", "kamal", filepath.Join(ours.data(), "kamal-proxy.state"), "--dry-run")
	for _, text := range []string{"service web: app.test -> " + one.addr(), `stopped with "Back at noon"`, "rollout 0% to " + two.addr() + " and to the clients listed", "TLS with " + pair[0]} {
		if plan.Code != 0 || !strings.Contains(plan.Stdout, text) {
			t.Errorf("the plan has no %q: %+v", text, plan)
		}
	}
	// What a storage has already is replaced by nobody who has not said so.
	storage := t.TempDir()
	for i, want := range []int{0, 2, 0} {
		args := []string{"import", "kamal", filepath.Join(ours.data(), "kamal-proxy.state"), "--storage", storage, "--overwrite"}
		if r := ours.parachute(args[:len(args)-1+i/2]...); r.Code != want {
			t.Errorf("import %d: %+v, want the exit code %d", i+1, r, want)
		}
	}
	ours.start()
	for _, text := range []string{"taking over from kamal-proxy", "service web: app.test", `"msg":"Restored saved state"`} {
		ours.awaitLog(text)
	}
	check(ours)
	// A start later takes over nothing, for it would undo what has been deployed since.
	ours.do("remove", "api")
	ours.do("resume", "down")
	ours.stop()
	ours.start()
	ours.expect("app.test", "/api/x", http.StatusOK, `"App":"one"`)
	ours.expect("down.test", "/x", http.StatusOK, `"App":"one"`)
	ours.stop()
	now, err := os.ReadFile(filepath.Join(ours.data(), "kamal-proxy.state"))
	must(t, err)
	if string(now) != string(saved) {
		t.Error("the state of kamal-proxy has changed")
	}

	// The way back, and forth again once kamal-proxy has deployed something. What that has not touched
	// is as parachute had it: its state of that is the older one.
	must(t, os.MkdirAll(theirs.home, 0o700))
	must(t, os.RemoveAll(theirs.home))
	must(t, os.Rename(ours.home, theirs.home))
	theirs.start()
	check(theirs)
	theirs.do("deploy", "web", "--target="+two.addr(), "--host=app.test")
	theirs.stop()
	must(t, os.Rename(theirs.home, ours.home))
	must(t, os.MkdirAll(theirs.home, 0o700))
	ours.start()
	ours.expect("app.test", "/x", http.StatusOK, `"App":"two"`)
	ours.expect("app.test", "/api/x", http.StatusOK, `"App":"two"`)
	ours.expect("down.test", "/x", http.StatusOK, `"App":"one"`)
	ours.awaitLog("service down: kamal-proxy has not changed it since it was taken over")
}

// parachute runs a command of parachute's own.
func (s *server) parachute(args ...string) rig.Result {
	s.t.Helper()
	binary, err := rig.ParachuteBinary()
	must(s.t, err)
	return s.runProgram(binary, args...)
}

// TestWhatCannotBeTakenOverIsSeen as a broken service, and costs the others nothing.
func TestWhatCannotBeTakenOverIsSeen(t *testing.T) {
	t.Parallel()
	a := startApp(t, "one")
	s := newServer(t, parachute(t))
	must(t, os.MkdirAll(s.data(), 0o700))
	state := `[{"name":"web","active_targets":["` + a.addr() + `"],"options":{"hosts":["app.test"]}},` +
		`{"name":"odd","active_targets":["web:80"],"options":{"hosts":["a b"]}},{"name":"torn","active_tar`
	must(t, os.WriteFile(filepath.Join(s.data(), "kamal-proxy.state"), []byte(state), 0o600))
	s.start()
	s.expect("app.test", "/x", http.StatusOK, "one")
	list := s.do("list").Stdout
	for _, name := range []string{"odd", "torn"} {
		line := ""
		for l := range strings.SplitSeq(list, "\n") {
			if strings.HasPrefix(l, name+" ") {
				line = l
			}
		}
		if !strings.Contains(line, "broken") {
			t.Errorf("%s: %q", name, line)
		}
		if status := s.parachute("status", name); !strings.Contains(status.Stdout, "kamal-proxy") {
			t.Errorf("%s: %+v", name, status)
		}
	}
	s.awaitLog("the file is cut off")
	// A deploy mends it.
	s.do("deploy", "torn", "--target="+a.addr(), "--host=torn.test")
	s.expect("torn.test", "/x", http.StatusOK, "one")
}

// TestEmptyStateIsTold and not taken for a proxy without services.
func TestEmptyStateIsTold(t *testing.T) {
	t.Parallel()
	s := newServer(t, parachute(t))
	must(t, os.MkdirAll(s.data(), 0o700))
	must(t, os.WriteFile(filepath.Join(s.data(), "kamal-proxy.state"), nil, 0o600))
	s.start()
	s.awaitLog("the file is empty")
}
