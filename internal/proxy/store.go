package proxy

import "context"

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
