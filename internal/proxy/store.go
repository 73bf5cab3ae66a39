package proxy

import (
	"context"
	"fmt"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Store keeps one document for each service. Writes replace the whole document:
// a reader sees the old one or the new one.
type Store interface {
	// Save replaces the document of a service. The one before becomes the generation
	// before it, if it is usable; if not, an older one stays that.
	Save(ctx context.Context, service string, document []byte, usable func(document []byte) bool) error
	// SaveHistory replaces the history of a service, LoadHistory returns it, or an error
	// that is [fs.ErrNotExist] if there is none.
	SaveHistory(ctx context.Context, service string, history []byte) error
	LoadHistory(ctx context.Context, service string) ([]byte, error)
	// Delete removes the document and the history of a service. It is no error if there
	// is none.
	Delete(ctx context.Context, service string) error
	// Load returns the generations of the document of a service that can be
	// read, the newest first, and an error if there are others.
	Load(ctx context.Context, service string) ([][]byte, error)
	// List returns the names of all services that have a document.
	List(ctx context.Context) ([]string, error)
}

// storeTimeout bounds one write of the state, if the storage heeds it. Caddy's file
// storage waits for as long as its disk does.
const storeTimeout = 10 * time.Second

// notStored is the error of an operation that has changed nothing, because what it was about
// to make true could not be stored. The message is failed, a whole phrase, and why.
func notStored(failed string, err error) *api.Error {
	return &api.Error{
		Code:    api.CodeStorage,
		Message: fmt.Sprintf("%s: %s", failed, api.Printable(err.Error())),
		Hint:    "check the free space and the permissions of the storage directory; nothing has changed",
		Cause:   err,
	}
}
