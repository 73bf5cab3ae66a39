package api

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxNote bounds each part of a [Note], in bytes.
const MaxNote = 200

// Note is what people want to know a release by. It belongs to one release, and no later
// one keeps it.
type Note struct {
	// Label is a text, such as a version: "2.4.1".
	Label string `json:"label,omitempty"`
	// Commit is what the release was built from, such as a Git hash.
	Commit string `json:"commit,omitempty"`
	// By is who deployed it.
	By string `json:"by,omitempty"`
}

// resolveNote checks the note of a release.
func (r DeployRequest) resolveNote(s *Spec) error {
	if r.Note == nil {
		return nil
	}
	for field, text := range map[Field]string{"note.label": r.Note.Label, "note.commit": r.Note.Commit, "note.by": r.Note.By} {
		if len(text) > MaxNote || !utf8.ValidString(text) || strings.ContainsFunc(text, IsControl) {
			return Invalid("%s has to be a line of at most %d bytes", field, MaxNote)
		}
	}
	s.Note = *r.Note
	return nil
}

// MaxPastReleases is how many releases of a service are remembered.
const MaxPastReleases = 20

// Outcome is how a release has ended.
type Outcome string

const (
	// OutcomeReverted is a release that has served all, and the one before it does again.
	OutcomeReverted Outcome = "reverted"
	// OutcomeAborted is a release that a share of the clients had, and nobody has now.
	OutcomeAborted Outcome = "aborted"
	// OutcomeCanary is a release that a share of the clients has: it is not decided yet.
	OutcomeCanary Outcome = "canary"
)

// PastRelease is a release that serves, or has served.
type PastRelease struct {
	Release    int       `json:"release"`
	DeployedAt time.Time `json:"deployed_at"`
	// ReplacedAt is when the next release took its place; absent while it serves.
	ReplacedAt *time.Time `json:"replaced_at,omitempty"`
	// From is the release that it is the targets and settings of, if it was rolled back to.
	From    int      `json:"from,omitempty"`
	Targets []string `json:"targets"`
	// ReadTargets are those that got nothing but requests that read.
	ReadTargets []string `json:"read_targets,omitempty"`
	Hosts       []string `json:"hosts,omitempty"`
	Options     Options  `json:"options"`
	Note        Note     `json:"note,omitzero"`
	// Outcome is what became of it, if it has left before it was trusted, and Reason says why;
	// or that it is a canary.
	Outcome Outcome `json:"outcome,omitempty"`
	Reason  string  `json:"reason,omitempty"`
	// Failures are those of its requests that failed because of it; see [Evidence].
	Failures int64 `json:"failures,omitempty"`
	// Served counts its requests up to when it was replaced, since the proxy started.
	Served int64 `json:"served"`
}

// History is the releases of a service, the newest first: at most [MaxPastReleases].
type History struct {
	Service  string        `json:"service"`
	Releases []PastRelease `json:"releases"`
}

// RollbackRequest asks for a release that has served before.
type RollbackRequest struct {
	// To is the number of that release. Default: the one before the release that serves.
	To int `json:"to,omitempty"`
	// IfMatch is the generation that the service has to be in; see [HoldRequest.IfMatch].
	IfMatch string `json:"-"`
	// FailOnCut and Detach are those of [DeployRequest].
	FailOnCut bool `json:"fail_on_cut,omitempty"`
	Detach    bool `json:"detach,omitempty"`
	// Note is that of the new release. What it leaves out of label and commit is as the
	// release had it.
	Note Note `json:"note,omitzero"`
}

// ParseRelease returns the number of a release that is written as 12 or v12, or an [Error]
// with [CodeInvalid].
func ParseRelease(text string) (int, error) {
	var n int
	digits := strings.TrimPrefix(text, "v")
	if _, err := fmt.Sscanf(digits, "%d", &n); err != nil || n < 1 || fmt.Sprint(n) != digits {
		return 0, Invalid("%.64q is not a release; write its number, as in v12", text)
	}
	return n, nil
}
