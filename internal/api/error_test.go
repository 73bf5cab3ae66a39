package api

import (
	"errors"
	"fmt"
	"testing"
)

func TestErrorsKeepTheirCodeAndCause(t *testing.T) {
	cause := errors.New("disk full")
	err := error(&Error{Code: CodeStorage, Message: "storing failed", Cause: cause})
	wrapped := fmt.Errorf("deploying: %w", err)
	if ErrorCode(wrapped) != CodeStorage || !errors.Is(wrapped, cause) || AsError(wrapped) != err {
		t.Errorf("%v has the code %q", wrapped, ErrorCode(wrapped))
	}
	if ErrorCode(cause) != "" || ErrorCode(nil) != "" {
		t.Error("an error without a code has one")
	}
}
