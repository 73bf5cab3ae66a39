package forward

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestEndingIsAContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e endSignal
		early := e.Done()
		called := 0
		context.AfterFunc(&e, func() { called++ })
		stop := context.AfterFunc(&e, func() { t.Error("called though it was stopped") })
		if !stop() || stop() {
			t.Error("stopping works once")
		}
		derived, cancel := context.WithTimeout(&e, time.Hour)
		defer cancel()
		if e.Err() != nil || derived.Err() != nil {
			t.Error("ended before its end")
		}
		e.end()
		e.end()
		synctest.Wait()
		<-early
		<-e.Done()
		<-derived.Done()
		if e.Err() != context.Canceled || derived.Err() != context.Canceled || called != 1 {
			t.Errorf("ended with %v, derived %v, called %d times", e.Err(), derived.Err(), called)
		}
		late := make(chan struct{})
		if stop := context.AfterFunc(&e, func() { close(late) }); stop() {
			t.Error("stopped what had to be called at once")
		}
		<-late
	})
}

func TestEndingKeepsNothingOfThoseWhoLeft(t *testing.T) {
	var e endSignal
	for range 10 {
		ctx, cancel := context.WithCancel(&e)
		context.AfterFunc(ctx, func() {})
		cancel()
	}
	if e.hooks != nil || e.done == nil {
		t.Errorf("left with %d hooks", len(e.hooks))
	}
}
