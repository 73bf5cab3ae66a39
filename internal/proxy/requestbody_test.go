package proxy

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func TestBodyCanBeSentAgainWhileAllOfItIsKept(t *testing.T) {
	b := &requestBody{body: io.NopCloser(strings.NewReader("hello"))}
	first, err := b.attempt(t.Context(), nil)
	if err != nil || b.touched() {
		t.Fatalf("a new body: %v, touched %v", err, b.touched())
	}
	_ = first.Close() // a transport closes the body of an attempt that failed
	if n, err := first.Read(make([]byte, 5)); n != 0 || err == nil {
		t.Errorf("an attempt that has ended reads %d bytes", n)
	}
	second, err := b.attempt(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := second.Read(make([]byte, 3)); n != 3 || err != nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
	_ = second.Close()
	third, err := b.attempt(t.Context(), nil)
	if err != nil || b.touched() {
		t.Fatalf("a body of which all is kept: %v, touched %v", err, b.touched())
	}
	if all, err := io.ReadAll(third); err != nil || string(all) != "hello" {
		t.Errorf("after two attempts: %q, %v", all, err)
	}
	if all, err := io.ReadAll(b); err != nil || string(all) != "hello" {
		t.Errorf("without an attempt of its own: %q, %v", all, err)
	}
	if b.failed.Load() {
		t.Error("the end of the body counts as a failure")
	}
}

func TestLongBodyIsNotKept(t *testing.T) {
	long := strings.Repeat("0123456789", 100_000)
	b := &requestBody{body: io.NopCloser(strings.NewReader(long))}
	first, err := b.attempt(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := io.ReadAll(first); err != nil || string(all) != long {
		t.Errorf("read %d bytes, %v", len(all), err)
	}
	if _, err := b.attempt(t.Context(), nil); err == nil || !b.touched() {
		t.Error("a long body can be sent again")
	}
	if kept := cap(b.spool.kept); kept > 4*maxKept {
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
