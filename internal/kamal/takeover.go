package kamal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/version"
)

// Legacy is what a kamal-proxy has left, and that parachute can take over.
type Legacy struct {
	// Services are those of the state file, by name.
	Services []Service
	// Files are certificates and accounts of ACME, for Caddy's storage.
	Files []File
	// Report are lines that say what is taken over and what is not.
	Report []Line

	file string
	hash string
	// hashes are those of the services in the file, by name.
	hashes map[string]string
}

// Line is a line of a report.
type Line struct {
	// Bad says that something is not as it was.
	Bad  bool
	Text string
}

func (l *Legacy) tell(bad bool, format string, args ...any) {
	l.Report = append(l.Report, Line{bad, api.PrintableUpTo(fmt.Sprintf(format, args...), 1000)})
}

// Read returns what a kamal-proxy has left: the state in a file, and the certificates in a directory
// and in those that the state names. It changes nothing, and returns an error only if the file
// cannot be read at all.
func Read(file, certificates string, now time.Time) (*Legacy, error) {
	return readSince(nil, file, certificates, now)
}

// readSince is Read without the services that are as they were when they were taken over before.
// kamal-proxy has not touched them since, and what was deployed with parachute is newer.
func readSince(before map[string]string, file, certificates string, now time.Time) (*Legacy, error) {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return nil, err
	case info.Size() > maxState:
		return nil, fmt.Errorf("%s has more than %d bytes: it is no state of kamal-proxy", file, maxState)
	}
	state, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	l := &Legacy{file: file, hash: hashOf(state), hashes: make(map[string]string)}
	elements, problem := parseState(state)
	all := services(elements)
	if problem != nil {
		l.tell(true, "the state of kamal-proxy in %s: %v; deploy the apps again whose services are missing", file, problem)
	}
	for _, s := range all {
		l.hashes[s.Name] = s.hash
		if s.hash != "" && before[s.Name] == s.hash {
			l.tell(false, "service %s: kamal-proxy has not changed it since it was taken over, so it stays as it is", s.Name)
			continue
		}
		l.Services = append(l.Services, s)
		l.tellService(s)
	}
	l.readCertificates(elements, certificates, now)
	if len(all) == 0 && problem == nil {
		l.tell(false, "the state of kamal-proxy in %s has no services", file)
	}
	return l, nil
}

// tellService says what becomes of a service.
func (l *Legacy) tellService(s Service) {
	if s.Broken != "" {
		l.tell(true, "service %s is broken: %s; deploy it again", s.Name, s.Broken)
		return
	}
	hosts := strings.Join(s.Request.Hosts, ",")
	if hosts == "" {
		hosts = "every host"
	}
	text := fmt.Sprintf("service %s: %s", s.Name, hosts)
	if p := s.Request.PathPrefixes; len(p) > 1 || len(p) == 1 && p[0] != "/" {
		text += " " + strings.Join(p, ",")
	}
	text += " -> " + strings.Join(s.Request.Targets, ",")
	if t := s.Request.TLS; t != nil {
		text += ", TLS"
		if t.CertificatePath != "" {
			text += " with " + t.CertificatePath
		}
	}
	if h := s.Hold; h != nil {
		text += ", " + string(h.Mode)
		if h.Message != "" {
			text += fmt.Sprintf(" with %q", h.Message)
		}
	}
	if r := s.Rollout; r != nil {
		text += fmt.Sprintf(", rollout %s to %s", r.Weight, strings.Join(r.Targets, ","))
		if len(r.Values) > 0 {
			text += " and to the clients listed"
		}
		if r.Off {
			text += ", disabled"
		}
	}
	l.tell(false, "%s", text)
	for _, note := range s.Notes {
		l.tell(true, "service %s: %s", s.Name, note)
	}
	if t := s.Request.TLS; t != nil && t.CertificatePath != "" {
		for _, file := range []string{t.CertificatePath, t.PrivateKeyPath} {
			if f, err := os.Open(file); err != nil {
				l.tell(true, "service %s: it has no certificate until its file can be read: %v", s.Name, err)
			} else {
				_ = f.Close()
			}
		}
	}
}

// readCertificates adds the certificates and accounts that there are.
func (l *Legacy) readCertificates(elements []element, dir string, now time.Time) {
	known, unknown := caches(elements, dir)
	var all []found
	for _, c := range known {
		certificates, account := c.certificates(now)
		all = append(all, certificates...)
		if account != nil {
			l.Files = append(l.Files, account...)
			l.tell(false, "the account at %s", c.directory)
		}
	}
	for _, f := range newest(all) {
		if f.err != nil {
			l.tell(true, "the certificate of %s is left out: %v", f.host, f.err)
			continue
		}
		l.Files = append(l.Files, f.files...)
		l.tell(false, "certificate of %s, valid until %s", f.host, f.notAfter.UTC().Format(time.DateOnly))
	}
	for _, folder := range unknown {
		l.tell(true, "the certificates in %s are left out: it is not known which authority they are from", folder)
	}
}

// mark is what is stored once everything is taken over.
type mark struct {
	// SHA256 is that of the state file. If that changes, kamal-proxy has run since.
	SHA256 string    `json:"sha256"`
	File   string    `json:"file"`
	At     time.Time `json:"at"`
	By     string    `json:"by"`
	// Services are the hashes of what the file had of each service, by the service's name.
	Services map[string]string `json:"services,omitempty"`
}

// markName is the file with the mark, in parachute's directory of the storage.
const markName = "taken-over-from-kamal-proxy.json"

func markFile(storage string) string { return filepath.Join(storage, "parachute", markName) }

// markOf returns the mark of a storage; an empty one if nothing has been taken over.
func markOf(storage string) (m mark) {
	b, err := os.ReadFile(markFile(storage))
	if err != nil || json.Unmarshal(b, &m) != nil {
		return mark{}
	}
	return m
}

// Mark notes in a storage that everything of l is there.
func (l *Legacy) Mark(storage string, now time.Time) error {
	b, err := json.MarshalIndent(mark{SHA256: l.hash, File: l.file, At: now.UTC(), By: version.Version(), Services: l.hashes}, "", "  ")
	if err != nil {
		return err
	}
	name := markFile(storage)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	next := name + ".new"
	if err := os.WriteFile(next, append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(next, name)
}

// stateFile returns the state file of kamal-proxy.
func stateFile() string { return filepath.Join(dataDir(), "kamal-proxy.state") }

// Store puts what a kamal-proxy has left into a storage. It returns when all of it is there.
type Store func(storage string, l *Legacy) error

// takeOver puts what kamal-proxy has left into a storage, unless that has been done, and says on
// say what it does.
func takeOver(storage string, store Store, say func(Line)) error {
	before := markOf(storage)
	l, err := readSince(before.Services, stateFile(), certificateDir(), time.Now())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("reading the state of kamal-proxy: %w; to start without it, move it away", err)
	case before.SHA256 == l.hash:
		return nil
	}
	say(Line{Text: fmt.Sprintf("taking over from kamal-proxy: %s, which stays as it is", stateFile())})
	for _, line := range l.Report {
		say(line)
	}
	if err := store(storage, l); err != nil {
		return fmt.Errorf("taking over from kamal-proxy: %w", err)
	}
	return l.Mark(storage, time.Now())
}
