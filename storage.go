package parachute

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// servicesPrefix is where the documents of services are, one folder for each.
const servicesPrefix = "parachute/services"

// store keeps the engine's state in Caddy's storage. Each service has a current
// document, the generation before it, and the history of its releases.
type store struct {
	storage certmagic.Storage
	// logger is told when a power cut could undo what has been stored. Default: nobody is.
	logger *zap.Logger
}

func folder(service string) string {
	// A star is the one character of a service name that not every file system
	// takes.
	return path.Join(servicesPrefix, strings.ReplaceAll(service, "*", "%2A"))
}

func currentKey(service string) string  { return path.Join(folder(service), "current.json") }
func previousKey(service string) string { return path.Join(folder(service), "previous.json") }
func historyKey(service string) string  { return path.Join(folder(service), "history.json") }

// SaveHistory replaces the history of a service.
func (s *store) SaveHistory(ctx context.Context, service string, history []byte) error {
	return s.storage.Store(ctx, historyKey(service), history)
}

// LoadHistory returns the history of a service.
func (s *store) LoadHistory(ctx context.Context, service string) ([]byte, error) {
	return s.storage.Load(ctx, historyKey(service))
}

// Save keeps the current document as the previous one, if it is usable, then
// replaces it.
func (s *store) Save(ctx context.Context, service string, document []byte, usable func([]byte) bool) error {
	// One that cannot be read is no reason not to replace it: it is what a deploy
	// is to mend.
	current, err := s.storage.Load(ctx, currentKey(service))
	if err == nil && usable(current) {
		if err := s.storage.Store(ctx, previousKey(service), current); err != nil {
			return fmt.Errorf("keeping the previous state: %w", err)
		}
	}
	if err := s.storage.Store(ctx, currentKey(service), document); err != nil {
		return fmt.Errorf("writing the new state: %w", err)
	}
	s.sync(service)
	return nil
}

// Delete removes the previous generation before the current one: were it the last to go,
// a crash in between would bring it back to life.
func (s *store) Delete(ctx context.Context, service string) error {
	for _, key := range []string{historyKey(service), previousKey(service), currentKey(service)} {
		if err := s.storage.Delete(ctx, key); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	_ = s.storage.Delete(ctx, folder(service)) // an empty one does no harm
	s.sync(service)
	return nil
}

// sync makes the state of a service outlive a power cut. That it failed is no error: what
// was stored is what the next start reads, and there is nothing to take back.
func (s *store) sync(service string) {
	if err := syncFolders(s.storage, folder(service)); err != nil && s.logger != nil {
		s.logger.Warn("a power cut now may bring back the previous state: its folder cannot be synced",
			zap.String("service", service), zap.Error(err))
	}
}

// Load returns the generations that can be read, and the first error with those
// that cannot.
func (s *store) Load(ctx context.Context, service string) ([][]byte, error) {
	var generations [][]byte
	var failed error
	for _, key := range []string{currentKey(service), previousKey(service)} {
		b, err := s.storage.Load(ctx, key)
		switch {
		case err == nil:
			generations = append(generations, b)
		case !errors.Is(err, fs.ErrNotExist) && failed == nil:
			failed = fmt.Errorf("reading %s: %w", key, err)
		}
	}
	return generations, failed
}

// List returns the services that have a document.
func (s *store) List(ctx context.Context) ([]string, error) {
	keys, err := s.storage.List(ctx, servicesPrefix, true)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	var names []string
	seen := make(map[string]bool)
	for _, key := range keys {
		dir, file := path.Split(key)
		name := strings.ReplaceAll(path.Base(dir), "%2A", "*")
		if (file == "current.json" || file == "previous.json") && !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names, nil
}
