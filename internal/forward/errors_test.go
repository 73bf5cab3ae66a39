package forward

import (
	"errors"
	"testing"
)

func TestRequestErrorsAreWhatTheyAreMadeOf(t *testing.T) {
	cause := errors.New("cause")
	request := wrap(ErrBadGateway, cause)
	if !errors.Is(request, ErrBadGateway) || !errors.Is(request, cause) || errors.Is(request, ErrTimeout) {
		t.Errorf("%v is not what it is made of", request)
	}
}
