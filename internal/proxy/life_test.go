package proxy

import "testing"

func TestEngineStartsOnceAndStopsForGood(t *testing.T) {
	for _, c := range []struct {
		asked []life
		want  life
		// operations says whether the engine then takes operations.
		operations bool
	}{
		{nil, lifeLoaded, true},
		{[]life{lifeRunning}, lifeRunning, true},
		{[]life{lifeRunning, lifeRunning}, lifeRunning, true},
		{[]life{lifeRunning, lifeStopping}, lifeStopping, false},
		// A config that is given up before it was started, as by `caddy validate`.
		{[]life{lifeStopping, lifeRunning}, lifeStopping, false},
		{[]life{lifeRunning, lifeStopping, lifeRunning, lifeStopping}, lifeStopping, false},
		{[]life{lifeRunning, lifeRetired}, lifeRetired, false},
		{[]life{lifeRetired, lifeStopping, lifeRunning}, lifeRetired, false},
		{[]life{lifeStopping, lifeRetired}, lifeRetired, false},
	} {
		var l lifetime
		for _, next := range c.asked {
			before := l.now()
			if changed := l.become(next); changed != (l.now() != before) || changed && l.now() != next {
				t.Errorf("%v: from %d to %d: changed %v, and is %d", c.asked, before, next, changed, l.now())
			}
		}
		if l.now() != c.want || l.now().takesOperations() != c.operations {
			t.Errorf("%v lead to %d, which takes operations: %v, want %d", c.asked, l.now(), l.now().takesOperations(), c.want)
		}
	}
}
