package proxy

import (
	"errors"
	"fmt"
	"testing"
)

func TestErrorsKeepTheirCodeAndCause(t *testing.T) {
	err := error(&Error{Code: CodeStorage, Message: "storing failed", Cause: errDiskFull})
	wrapped := fmt.Errorf("deploying: %w", err)
	if ErrorCode(wrapped) != CodeStorage || !errors.Is(wrapped, errDiskFull) || asError(wrapped) != err {
		t.Errorf("%v has the code %q", wrapped, ErrorCode(wrapped))
	}
	if ErrorCode(errDiskFull) != "" || ErrorCode(nil) != "" {
		t.Error("an error without a code has one")
	}
	request := wrap(ErrBadGateway, errDiskFull)
	if !errors.Is(request, ErrBadGateway) || !errors.Is(request, errDiskFull) || errors.Is(request, ErrTimeout) {
		t.Errorf("%v is not what it is made of", request)
	}
}
