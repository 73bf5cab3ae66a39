package proxy

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func TestBodyCanBeSentAgainUntilItIsTouched(t *testing.T) {
	b := &requestBody{body: io.NopCloser(strings.NewReader("hello"))}
	first, err := b.attempt(t.Context())
	if err != nil || b.touched() {
		t.Fatalf("a new body: %v, touched %v", err, b.touched())
	}
	_ = first.Close() // a transport closes the body of an attempt that failed
	if n, err := first.Read(make([]byte, 5)); n != 0 || err == nil {
		t.Errorf("an attempt that has ended reads %d bytes", n)
	}
	second, err := b.attempt(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if all, err := io.ReadAll(second); err != nil || string(all) != "hello" {
		t.Errorf("after the first attempt: %q, %v", all, err)
	}
	if _, err := b.attempt(t.Context()); err == nil || !b.touched() {
		t.Errorf("a body that was read can be sent again")
	}
	if b.failed.Load() {
		t.Error("the end of the body counts as a failure")
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
