package fleet

import (
	"testing"
	"time"
)

func TestProxyIsNotMissedForTheTimeInWhichNobodyReachesTheStore(t *testing.T) {
	l, now := newLeases(5*time.Second), time.Now()
	other := []Lease{{Name: "b", Incarnation: "1", Beats: 1}}
	missing := func() bool { _, missing := l.others("a", now); return len(missing) == 1 }
	l.update(other, now)
	now = now.Add(time.Minute) // there is no answer
	if missing() {
		t.Error("it is missed although nobody has looked")
	}
	l.update(other, now)
	if missing() {
		t.Error("it is missed before it can have been heard of")
	}
	for range 4 {
		now = now.Add(time.Second)
		l.update(other, now)
	}
	if !missing() {
		t.Error("it is not missed although it was looked for")
	}
	other[0].Beats++
	l.update(other, now)
	if missing() {
		t.Error("it is missed although it was heard of")
	}
}
