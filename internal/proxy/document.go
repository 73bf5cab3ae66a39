package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
)

// documentFormat is the newest version of the document that this program writes. It
// reads every older one, and writes the oldest that the state can be said in: whoever
// goes back to an older program finds it readable.
const documentFormat = 2

// document is what is stored of a service: its active release. It is a type of
// its own, because what is on disk outlives what is in memory.
type document struct {
	Format     int       `json:"format"`
	Service    string    `json:"service"`
	Release    int       `json:"release"`
	DeployedAt time.Time `json:"deployed_at"`
	Targets    []string  `json:"targets"`
	Hosts      []string  `json:"hosts,omitempty"`
	// Options are those of the release. They have the names that they have in a request,
	// and are read as one: what an older program has not stored has its default.
	Options json.RawMessage `json:"options"`
	// Certified says that there were certificates before the release took traffic.
	Certified bool `json:"certified,omitempty"`
	// KeyPair is the certificate of the service's own, as its files had it.
	KeyPair *pemPair `json:"key_pair,omitempty"`
	// TakenFrom are the services that this one has taken routes from: if a document of theirs
	// has them as well, it is older than that.
	TakenFrom []string `json:"taken_from,omitempty"`
	// Hold says that the requests for the service are held. Since format 2.
	Hold *api.Hold `json:"hold,omitempty"`
	// From is the release that was rolled back to; 0 if it was no rollback.
	From int      `json:"from,omitempty"`
	Note api.Note `json:"note,omitzero"`
	// TargetCA are the authorities of the targets, as their file had them.
	TargetCA string `json:"target_ca,omitempty"`
}

// ErrNewerFormat means that a document was written by a newer version of this
// program. It must not be guessed at, nor overwritten.
var ErrNewerFormat = errors.New("written by a newer version of parachute")

func encodeRelease(r *release, h *hold) ([]byte, error) {
	options, err := json.Marshal(r.Spec.Options)
	if err != nil {
		return nil, err
	}
	doc := document{
		Format:     1,
		Service:    r.Spec.Service,
		Release:    r.Version,
		DeployedAt: r.DeployedAt,
		Targets:    r.Targets(),
		Hosts:      r.Spec.Hosts,
		Options:    options,
		Certified:  r.certified.Load(),
		TakenFrom:  r.takenFrom,
		From:       r.from,
		Note:       r.Spec.Note,
		TargetCA:   r.Spec.TargetCA,
	}
	if r.keyPair != nil {
		if loaded := r.keyPair.current.Load(); loaded != nil { // there may be none after a start
			doc.KeyPair = &loaded.pem
		}
	}
	if h != nil {
		doc.Format, doc.Hold = 2, &h.Hold
	}
	return json.MarshalIndent(doc, "", "  ")
}

// decodeRelease returns the spec that a document describes. It goes through the
// same validation as a request, since a document may have been edited.
func decodeRelease(name string, b []byte) (api.Spec, document, error) {
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(b, &version); err != nil {
		return api.Spec{}, document{}, fmt.Errorf("decoding the document: %w", err)
	}
	if version.Format > documentFormat {
		return api.Spec{}, document{}, fmt.Errorf("format %d: %w", version.Format, ErrNewerFormat)
	}
	if version.Format < 1 {
		return api.Spec{}, document{}, errors.New("decoding the document: it has no format")
	}
	var doc document
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil {
		return api.Spec{}, document{}, fmt.Errorf("decoding the document: %w", err)
	}
	if doc.Service != name {
		return api.Spec{}, document{}, fmt.Errorf("the document is of the service %q", doc.Service)
	}
	if doc.Release < 1 {
		return api.Spec{}, document{}, fmt.Errorf("the document has the release %d", doc.Release)
	}
	req, err := storedRequest(doc.Service, doc.Targets, doc.Hosts, doc.Options)
	if err != nil {
		return api.Spec{}, document{}, fmt.Errorf("decoding the settings: %w", err)
	}
	req.Note = &doc.Note
	if doc.Hold != nil {
		if err := doc.Hold.Validate(); err != nil {
			return api.Spec{}, document{}, err
		}
	}
	s, err := req.Resolve()
	return s, doc, err
}

// storedRequest returns the request for a release of which these were stored. Options have the
// names that they have in a request.
func storedRequest(service string, targets, hosts []string, options json.RawMessage) (api.DeployRequest, error) {
	req := api.DeployRequest{Service: service, Targets: targets, Hosts: hosts}
	err := json.Unmarshal(options, &req)
	return req, err
}

func (e *Engine) save(r *release, h *hold) error {
	b, err := encodeRelease(r, h)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	return e.currentStore().Save(ctx, r.Spec.Service, b, func(document []byte) bool {
		_, _, err := decodeRelease(r.Spec.Service, document)
		return err == nil
	})
}

// Load reads the state and puts every service that it finds in service: each was
// serving when the proxy stopped. A service whose documents cannot be read, or
// whose route another one has, becomes a broken one, which costs the others
// nothing. Only a document of a newer format, and storage that cannot be listed,
// are errors. Load does not touch the network; see [Engine.Start].
func (e *Engine) Load(ctx context.Context) error {
	store := e.currentStore()
	names, err := store.List(ctx)
	if err != nil {
		return fmt.Errorf("listing the stored services: %w", err)
	}
	var loaded []*release
	for _, name := range names {
		r, err := e.loadRelease(ctx, store, name)
		switch {
		case errors.Is(err, ErrNewerFormat):
			return fmt.Errorf("the state of the service %s was %w; start that version, or move the state away", name, ErrNewerFormat)
		case err != nil:
			e.log().Error("service is broken: its state cannot be loaded; deploy it again, with a reset and all of its settings, to repair it",
				zap.String("service", name), zap.Error(err))
			e.mu.Lock()
			e.service(name).broken = err
			e.mu.Unlock()
		default:
			loaded = append(loaded, r)
		}
	}
	e.install(e.settle(loaded))
	return nil
}

// loadRelease returns the newest generation of a service's document that loads.
func (e *Engine) loadRelease(ctx context.Context, store Store, name string) (*release, error) {
	if err := api.ValidateServiceName(name); err != nil {
		return nil, err
	}
	generations, failed := store.Load(ctx, name)
	for _, b := range generations {
		s, doc, err := decodeRelease(name, b)
		if errors.Is(err, ErrNewerFormat) {
			return nil, err
		}
		if err != nil {
			if failed == nil {
				failed = err
			}
			continue
		}
		if failed != nil {
			e.log().Warn("service falls back to the previous generation of its state",
				zap.String("service", name), zap.Int("release", doc.Release), zap.NamedError("newest", failed))
		}
		s.TargetCA = e.restoreTargetCA(s, doc.TargetCA)
		r := e.newRelease(s)
		r.Version, r.DeployedAt = doc.Release, doc.DeployedAt
		r.takenFrom, r.from = doc.TakenFrom, doc.From
		if doc.Hold != nil {
			r.restoredHold = newHold(*doc.Hold, nil)
		}
		r.certified.Store(doc.Certified)
		e.restoreKeyPair(r, doc.KeyPair)
		return r, nil
	}
	if failed == nil {
		failed = errors.New("there is no document")
	}
	return nil, failed
}

// install puts releases in service. It builds the table once.
func (e *Engine) install(releases []*release) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var claims []*claim
	for _, r := range releases {
		svc := e.service(r.Spec.Service)
		if err := e.reserve(r.Spec); err != nil {
			svc.broken, svc.known, svc.lastVersion = err, r.Spec, r.Version
			e.log().Error("service is broken: its route belongs to another service",
				zap.String("service", r.Spec.Service), zap.Error(err))
			r.Close()
			continue
		}
		r.Traffic = svc.traffic
		c := newClaim(r, r.restoredHold)
		svc.active, svc.lastVersion = c, r.Version
		claims = append(claims, c)
	}
	e.table.Store(newTable(claims))
}
