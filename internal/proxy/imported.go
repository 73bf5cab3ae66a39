package proxy

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Imported is a service that another program has had, which this one is to serve from its next
// start on.
type Imported struct {
	// Request is what the service is deployed with. It names the service.
	Request api.DeployRequest
	// Hold says that the service is paused or stopped; nil if it serves.
	Hold *api.Hold
	// Canary is a release that some clients get until somebody decides; nil if there is none.
	Canary *ImportedCanary
	// Broken says why the service cannot be served; empty if it can. Then Request has a name
	// alone.
	Broken string
}

// ImportedCanary is a release that some clients get.
type ImportedCanary struct {
	Targets     []string
	ReadTargets []string
	// By is [api.DeployRequest.CanaryBy], and the others are as in [api.RolloutRequest].
	By     string
	Weight api.Percent
	Values []string
	Off    bool
}

// Document returns the document of the service, for the [Store]. before is the document that it
// takes the place of; nil if there is none. It returns an error if the service cannot be read from
// what would be stored.
func (i Imported) Document(before []byte, now time.Time) ([]byte, error) {
	name := i.Request.Service
	if err := api.ValidateServiceName(name); err != nil {
		return nil, err
	}
	if i.Broken != "" {
		return json.MarshalIndent(brokenDocument{Format: 1, Service: name, Broken: i.Broken}, "", "  ")
	}
	var last struct {
		Release     int `json:"release"`
		LastRelease int `json:"last_release"`
	}
	_ = json.Unmarshal(before, &last) // what cannot be read has no release that could be confused with ours
	release := max(last.Release, last.LastRelease, 0) + 1
	doc := document{Format: 1, Service: name, Hold: i.Hold}
	var err error
	if doc.storedRelease, err = i.release(i.Request, release, now); err != nil {
		return nil, err
	}
	switch {
	case doc.ErrorPages != nil:
		doc.Format = 3
	case i.Hold != nil:
		doc.Format = 2
	}
	if c := i.Canary; c != nil {
		req := i.Request
		req.Targets, req.ReadTargets = c.Targets, c.ReadTargets
		next, err := i.release(req, release+1, now)
		if err != nil {
			return nil, err
		}
		doc.Format = 4
		doc.Candidate = &storedCandidate{storedRelease: next, Weight: c.Weight, Salt: rand.Uint64(), Values: c.Values, Off: c.Off}
		out := api.Rollout{Steps: []api.Step{{}}, By: c.By, MinRequests: api.DefaultMinRequests}
		if out.MaxErrorRate, err = api.ParsePercent(api.DefaultMaxErrorRate); err != nil {
			return nil, err
		}
		doc.Rollout = &storedRollout{Settings: out, Position: position{Phase: api.PhaseCanary, Weight: &c.Weight}}
	}
	b, err := json.MarshalIndent(doc, "", "  ")
	if err == nil {
		_, err = decodeDocument(name, b)
	}
	return b, err
}

// release returns what is stored of a release.
func (Imported) release(req api.DeployRequest, number int, now time.Time) (storedRelease, error) {
	s, err := req.Resolve()
	if err != nil {
		return storedRelease{}, err
	}
	if s.Options.HasHandlers() {
		return storedRelease{}, errors.New("a service with handlers has to be deployed")
	}
	options, err := json.Marshal(s.Options)
	if err != nil {
		return storedRelease{}, err
	}
	pages, err := readErrorPages(s.Options.ErrorPages)
	return storedRelease{
		Release: number, DeployedAt: now.UTC(), Targets: api.TargetNames(s.Targets), ReadTargets: api.TargetNames(s.ReadTargets),
		Hosts: s.Hosts, Options: options, Note: s.Note, ErrorPages: pages,
	}, err
}

// brokenDocument is the document of a service that could not be imported.
type brokenDocument struct {
	Format  int    `json:"format"`
	Service string `json:"service"`
	Broken  string `json:"broken"`
}

// brokenReason returns why the service of a document could not be imported; empty if it could.
func brokenReason(b []byte) string {
	var doc brokenDocument
	if json.Unmarshal(b, &doc) != nil {
		return ""
	}
	return doc.Broken
}
