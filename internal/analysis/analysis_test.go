package analysis

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/parachute-proxy/parachute/internal/testkit"
)

// watch runs a release for so many minutes, with a failure rate and a number of requests a
// minute, and returns the minute in which it was taken for bad, or 0.
func watch(rnd *rand.Rand, minutes, perMinute int, rate, limit float64) int {
	var n, failures int64
	for minute := 1; minute <= minutes; minute++ {
		for range perMinute {
			n++
			if rnd.Float64() >= rate {
				continue // which speaks for the release
			}
			if failures++; Bad(failures, n, limit) { // looked at after each failure
				return minute
			}
		}
	}
	return 0
}

// TestBadReleaseIsFoundOnLittleTraffic: 30 % failures at 10 requests a minute, where the
// release before had 3 failures in the last hour.
func TestBadReleaseIsFoundOnLittleTraffic(t *testing.T) {
	rnd := testkit.NewRand(t)
	limit := Limit(0.01, 3, 600)
	late := 0
	const runs = 1000
	for range runs {
		if m := watch(rnd, 30, 10, 0.30, limit); m == 0 || m > 15 {
			t.Fatal("found in minute", m)
		} else if m > 2 { // in a tenth of all cases, at most three of the first twenty fail
			late++
		}
	}
	if late > runs*3/20 {
		t.Errorf("%d of %d were found after more than two minutes", late, runs)
	}
	for range 100 {
		if m := watch(rnd, 30, 10, 1, limit); m != 1 {
			t.Errorf("a release that always fails was found in minute %d", m)
		}
	}
}

// TestHealthyReleaseIsNeverTakenForBad: 1 % of the requests of either release fail.
func TestHealthyReleaseIsNeverTakenForBad(t *testing.T) {
	rnd := testkit.NewRand(t)
	reverted := 0
	for _, perMinute := range []int{1, 10, 100} {
		for range 200 {
			var before int64
			for range 60 * perMinute {
				if rnd.Float64() < 0.01 {
					before++
				}
			}
			if m := watch(rnd, 30, perMinute, 0.01, Limit(0.01, before, int64(60*perMinute))); m > 0 {
				t.Logf("%d requests a minute: reverted in minute %d", perMinute, m)
				reverted++
			}
		}
	}
	if reverted > 1 { // that one is, is as likely as three failures among eight requests
		t.Errorf("%d of 600 healthy releases were reverted", reverted)
	}
}

func TestRateAtTheLimitIsAFalseAlarmAtMostOnceInAHundred(t *testing.T) {
	rnd := testkit.NewRand(t)
	alarms := 0
	const runs = 2000
	for range runs {
		if watch(rnd, 30, 20, 0.05, 0.05) > 0 {
			alarms++
		}
	}
	if alarms > runs/100 {
		t.Errorf("%d false alarms in %d runs", alarms, runs)
	}
}

func TestOddsOfNothing(t *testing.T) {
	for _, c := range []struct {
		failures, n int64
		limit, want float64
	}{{0, 0, 0.01, 1}, {5, 5, 0.7, 0}, {5, 5, 0, 0}} {
		if got := Odds(c.failures, c.n, c.limit); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("Odds(%d, %d, %v) = %v, want %v", c.failures, c.n, c.limit, got, c.want)
		}
	}
	if Odds(0, 100, 0.01) >= 1 || Odds(100, 100, 0.01) < 1e6 {
		t.Error("successes speak against a failure rate, and failures for it")
	}
	if Odds(1e9, 1e9, 0.01) < Convincing || Odds(1e7, 1e9, 0.01) >= Convincing {
		t.Error("large counts are judged like small ones")
	}
}

// A release before that had few requests does not make the judge blind.
func TestFewRequestsBeforeLeaveTheLimitWhereItIs(t *testing.T) {
	for n := range int64(200) {
		if got := Limit(0.01, 0, n); got != 0.01 {
			t.Errorf("0 of %d: %v", n, got)
		}
	}
	for _, c := range []struct {
		failures, n int64
		most        float64
	}{{1, 1, 1}, {1, 10, 0.3}, {1, 100, 0.03}, {6, 600, 0.03}} {
		if got := Limit(0.01, c.failures, c.n); got > c.most || got < 0.01 {
			t.Errorf("%d of %d: %v", c.failures, c.n, got)
		}
	}
	if !Bad(6, 20, Limit(0.01, 0, 1)) {
		t.Error("a release that fails in 6 of 20 cases is not found")
	}
}

func TestBaselineWithoutFailuresTightensWithTraffic(t *testing.T) {
	if UpperBound(0, 0) != 0 || UpperBound(0, 20) > 0.04 || UpperBound(0, 600) > 0.002 || UpperBound(5, 5) != 1 {
		t.Error(UpperBound(0, 0), UpperBound(0, 20), UpperBound(0, 600), UpperBound(5, 5))
	}
}
