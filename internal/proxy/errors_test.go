package proxy

import (
	"errors"
	"testing"
)

func TestRequestErrorsAreWhatTheyAreMadeOf(t *testing.T) {
	request := wrap(ErrBadGateway, errDiskFull)
	if !errors.Is(request, ErrBadGateway) || !errors.Is(request, errDiskFull) || errors.Is(request, ErrTimeout) {
		t.Errorf("%v is not what it is made of", request)
	}
}
