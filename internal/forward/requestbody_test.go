package forward

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func TestBodyCanBeSentAgainWhileAllOfItIsKept(t *testing.T) {
	b := &requestBody{body: io.NopCloser(strings.NewReader("hello"))}
	first := b.attempt(t.Context(), nil)
	_ = first.Close() // a transport closes the body of an attempt that failed
	if n, err := first.Read(make([]byte, 5)); n != 0 || err == nil {
		t.Errorf("an attempt that has ended reads %d bytes", n)
	}
	second := b.attempt(t.Context(), nil)
	if n, err := second.Read(make([]byte, 3)); n != 3 || err != nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
	third := b.forAnyTransport(t.Context())
	if n, err := second.Read(make([]byte, 3)); n != 0 || err == nil {
		t.Errorf("an attempt reads %d bytes beside the next one", n)
	}
	if all, err := io.ReadAll(third); err != nil || string(all) != "hello" || b.touched() {
		t.Errorf("%q, %v, touched %v", all, err, b.touched())
	}
	if b.failed.Load() {
		t.Error("the end of the body counts as a failure")
	}
}

func TestBodyCannotBeSentAgainByATransportThatReadsItItself(t *testing.T) {
	b := &requestBody{body: io.NopCloser(strings.NewReader("hello"))}
	_ = b.Close() // a transport closes the body of an attempt that failed
	if b.touched() {
		t.Error("a body that nobody has read cannot be sent")
	}
	if all, err := io.ReadAll(b.forAnyTransport(t.Context())); err != nil || string(all) != "hello" || !b.touched() {
		t.Errorf("%q, %v, touched %v", all, err, b.touched())
	}
}

func TestLongBodyIsNotKept(t *testing.T) {
	long := strings.Repeat("0123456789", 100_000)
	b := &requestBody{body: io.NopCloser(strings.NewReader(long))}
	if all, err := io.ReadAll(b.attempt(t.Context(), nil)); err != nil || string(all) != long {
		t.Errorf("read %d bytes, %v", len(all), err)
	}
	if n, err := b.attempt(t.Context(), nil).Read(make([]byte, 1)); err == nil || !b.touched() {
		t.Errorf("a long body can be sent again: %d bytes", n)
	}
	if kept := cap(b.replay.kept); kept > 4*maxKept {
		t.Errorf("%d bytes are kept", kept)
	}
}

func TestBrokenBodyIsTheClientsFault(t *testing.T) {
	b := &requestBody{body: io.NopCloser(io.MultiReader(strings.NewReader("he"), brokenReader{}))}
	if _, err := io.ReadAll(b); err == nil || !b.failed.Load() {
		t.Errorf("%v, failed %v", err, b.failed.Load())
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("malformed chunk") }

// TestBodyIsNotReadWhenTheExchangeIsOver because the server may have given it to
// the next request of the connection.
func TestBodyIsNotReadWhenTheExchangeIsOver(t *testing.T) {
	b := &requestBody{body: io.NopCloser(strings.NewReader("hello"))}
	b.detach()
	if n, err := b.Read(make([]byte, 5)); n != 0 || err == nil || b.touched() || b.failed.Load() {
		t.Errorf("read %d bytes, %v", n, err)
	}
}
