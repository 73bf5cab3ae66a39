package kamal

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/errorpage"
)

// Service is a service that a kamal-proxy has had.
type Service struct {
	// Name is what it is called from now on.
	Name string
	// Request is what it is deployed with.
	Request api.DeployRequest
	// Hold says that it is paused or stopped; nil if it serves.
	Hold *api.Hold
	// Rollout is what is in its second slot; nil if that is empty.
	Rollout *Rollout
	// Notes say, for people, what is not as it was.
	Notes []string
	// Broken says why it cannot be taken over; empty if it can.
	Broken string

	// hash is that of what the state file has of it; empty if that is torn.
	hash string
}

// Rollout is a release that some clients get. By is what they are known by; see
// [api.DeployRequest.CanaryBy].
type Rollout struct {
	Targets     []string
	ReadTargets []string
	By          string
	Weight      api.Percent
	Values      []string
	// Off says that nobody gets it.
	Off bool
}

// note adds what is not as it was.
func (s *Service) note(format string, args ...any) {
	s.Notes = append(s.Notes, api.Printable(fmt.Sprintf(format, args...)))
}

// serviceOf returns the service that an element of the state file is. What it cannot be is said in
// the service: it is never left out.
func serviceOf(e element) Service {
	s := Service{Name: e.name, hash: e.hash}
	if api.ValidateServiceName(s.Name) != nil {
		s.Name = validName(e.name)
		s.note("parachute has another name for it than kamal-proxy, which called it %q", e.name)
	}
	if e.err != nil {
		s.Broken = api.PrintableUpTo(e.err.Error(), maxReason)
		return s
	}
	if err := s.fill(e.saved); err != nil {
		s.Broken = api.PrintableUpTo(fmt.Sprintf("it cannot be taken over from kamal-proxy: %v", err), maxReason)
		s.Hold, s.Rollout = nil, nil
	}
	return s
}

// maxReason bounds a reason, in bytes.
const maxReason = 500

// notInNames are the characters that the name of a service of ours cannot have.
var notInNames = regexp.MustCompile(`[^A-Za-z0-9_.-]+`)

// validName returns a name that is like one that no service can have.
func validName(name string) string {
	valid := strings.Trim(notInNames.ReplaceAllString(name, "-"), "-_.")
	for strings.Contains(valid, "..") {
		valid = strings.ReplaceAll(valid, "..", ".")
	}
	valid = strings.Trim(valid[:min(len(valid), 200)], "-_.")
	return cmp.Or(valid, "unnamed")
}

// fill makes s what kamal-proxy has saved.
func (s *Service) fill(saved *savedService) error {
	d := s.deployment(saved)
	patch := d.patch()
	delete(patch, "reset") // there is nothing that could be kept
	var err error
	if s.Request, err = patch.Apply(nil); err != nil {
		return err
	}
	if _, err := s.Request.Resolve(); err != nil {
		return err
	}
	if err := s.hold(saved.Pause); err != nil {
		return err
	}
	return s.rollout(saved)
}

// deployment returns what the service was deployed with.
func (s *Service) deployment(saved *savedService) deployment {
	o, t := saved.Options, saved.TargetOptions
	d := newDeployment()
	d.service = s.Name
	d.targets = s.addresses(firstOf(saved.ActiveTargets, one(saved.ActiveTarget)))
	d.readTargets = s.addresses(saved.ActiveReaders)
	d.hosts = s.validHosts(firstOf(o.Hosts, saved.Hosts, one(saved.Host), one(o.TLSHostname)))
	d.pathPrefixes = firstOf(o.PathPrefixes, saved.PathPrefixes)
	d.stripPathPrefix = o.StripPrefix == nil || *o.StripPrefix
	d.scopeCookiePaths = t.ScopeCookiePaths
	s.setTLS(&d, o)
	d.canonicalHost = o.CanonicalHost
	if h := t.HealthCheck; h.Interval != 0 || h.Timeout != 0 || h.Path != "" {
		d.healthPath, d.healthPort, d.healthHost = h.Path, h.Port, h.Host
		d.healthInterval = s.within("the interval of health checks", h.Interval, 10*time.Millisecond, d.healthInterval)
		d.healthTimeout = s.within("the time of health checks", h.Timeout, time.Millisecond, d.healthTimeout)
	}
	d.targetTimeout = s.within("the time that a target may take", t.ResponseTimeout, 0, d.targetTimeout)
	d.writerAffinity, d.readTargetWebSockets = o.WriterAffinity, o.ReadTargetWebSockets
	d.bufferRequests, d.bufferResponses = t.BufferRequests, t.BufferResponses
	d.bufferMemory = cmp.Or(t.BufferMemory, defaultBufferMemory)
	d.maxRequestBody, d.maxResponseBody = t.MaxRequestBody, t.MaxResponseBody
	d.errorPages = s.usablePages(o.ErrorPagePath)
	d.logRequestHeaders, d.logResponseHeaders, d.excludeMetricsPaths = t.LogRequestHeaders, t.LogResponseHeaders, o.ExcludeMetricsPaths
	d.forwardHeaders, d.clientIPHeader = t.ForwardHeaders, o.ClientIPHeader
	return d
}

// usablePages returns a directory of error pages, if they can be used.
func (s *Service) usablePages(dir string) string {
	if dir == "" {
		return ""
	}
	if _, err := errorpage.Read(dir); err != nil {
		s.note("its own error pages are left out until its next deploy: %v", err)
		return ""
	}
	return dir
}

// setTLS takes over what was said of HTTPS.
func (s *Service) setTLS(d *deployment, o savedOptions) {
	d.tls = o.TLSEnabled || o.TLSHostname != ""
	// Absent until 0.8.6, which redirected. kamal-proxy itself reads it as false today.
	d.tlsRedirect = o.TLSRedirect == nil || *o.TLSRedirect
	d.tlsOnDemandURL, d.certificatePath, d.keyPath = o.OnDemandURL, o.CertificatePath, o.PrivateKeyPath
	switch {
	case !d.tls:
	case len(d.pathPrefixes) > 0 && !slices.Contains(prefixes(d.pathPrefixes), "/"):
		// kamal-proxy has written down what is said by the service that has the root of the
		// host, and so do we.
		d.tls = false
	case len(namedHosts(d.hosts)) == 0 && d.tlsOnDemandURL == "" && d.certificatePath == "":
		d.tls = false
		s.note("it has TLS and no host that a certificate could be for: it is taken over without TLS")
	case o.ACMEDirectory != "" && d.certificatePath == "":
		s.note("its certificates come from %s: to get them from there, start the proxy with PARACHUTE_ACME_CA=%s", o.ACMEDirectory, o.ACMEDirectory)
	}
}

// validHosts returns the hosts that parachute can have.
func (s *Service) validHosts(hosts []string) []string {
	if slices.Contains(hosts, "") && len(hosts) > 1 {
		s.note("it is for every host that no other service has, and so for %s as well", strings.Join(slices.DeleteFunc(slices.Clone(hosts), func(h string) bool { return h == "" }), ", "))
	}
	var valid, invalid []string
	for _, h := range namedHosts(hosts) {
		if _, err := api.NormalizeHost(h); err != nil {
			invalid = append(invalid, h)
		} else {
			valid = append(valid, h)
		}
	}
	if len(invalid) > 0 && len(valid) > 0 {
		s.note("left out are hosts that no client can ask for: %s", strings.Join(invalid, ", "))
		return valid
	}
	return append(valid, invalid...) // all of them are wrong, which is an error
}

// addresses returns targets without what a fork of kamal-proxy writes behind them.
func (s *Service) addresses(targets []string) []string {
	var all []string
	for _, t := range targets {
		address, more, _ := strings.Cut(t, ";")
		if more != "" {
			s.note("all targets get the same share: %s of %s is left out", more, address)
		}
		if address != "" && !slices.Contains(all, address) {
			all = append(all, address)
		}
	}
	return all
}

// within returns a time as parachute can have it.
func (s *Service) within(what string, d, least, otherwise time.Duration) time.Duration {
	if d < least || d > time.Duration(api.MaxTimeout) {
		s.note("%s is %s, and was %s", what, otherwise, d)
		return otherwise
	}
	return d
}

// hold has the service be paused or stopped, if it was.
func (s *Service) hold(p *savedPause) error {
	if p == nil || p.State == 0 {
		return nil
	}
	req, mode := api.HoldRequest{}, api.Paused
	switch p.State {
	case 1:
		wait := api.Duration(s.within("the time that requests wait", p.FailAfter, time.Millisecond, defaultMaxPause))
		queue := api.MaxQueue
		req.MaxWait, req.Queue = &wait, &queue
	case 2:
		mode, req.Message = api.Stopped, strings.ToValidUTF8(p.StopMessage, "")
		for len(req.Message) > api.MaxHoldMessage {
			_, size := utf8.DecodeLastRuneInString(req.Message)
			req.Message = req.Message[:len(req.Message)-size]
		}
	default:
		return fmt.Errorf("its requests are held in a way (%d) that is not known", p.State)
	}
	h, err := req.Resolve(mode)
	s.Hold = &h
	return err
}

// rollout takes over the second slot.
func (s *Service) rollout(saved *savedService) error {
	targets := s.addresses(firstOf(saved.RolloutTargets, one(saved.RolloutTarget)))
	if len(targets) == 0 {
		return nil
	}
	r := Rollout{Targets: withPorts(targets), ReadTargets: withPorts(s.addresses(saved.RolloutReaders)), By: "cookie:" + rolloutCookie}
	if split := saved.Rollout; split != nil {
		r.Weight, r.Values, r.Off = api.PercentOf(float64(split.Percentage)/100), split.Allowlist, split.Disabled
	}
	if err := api.ValidateCanaryValues(r.Values); err != nil {
		s.note("nobody gets its rollout: %v", err)
		r.Weight, r.Values = 0, nil
	}
	next := s.Request
	next.Targets, next.ReadTargets = r.Targets, r.ReadTargets
	if _, err := next.Resolve(); err != nil {
		s.note("its rollout is left out: %v", err)
		return nil
	}
	s.Rollout = &r
	return nil
}

// firstOf returns the first list that is not empty.
func firstOf(lists ...[]string) []string {
	for _, l := range lists {
		if len(l) > 0 {
			return l
		}
	}
	return nil
}

// one returns a list of what is not empty.
func one(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// services returns the services of a state file, under names that are all different.
func services(elements []element) []Service {
	var all []Service
	seen := make(map[string]int)
	for _, e := range elements {
		s := serviceOf(e)
		name := s.Name
		for seen[s.Name] > 0 {
			seen[name]++
			s.Name = fmt.Sprintf("%s-%d", name, seen[name])
			s.Request.Service = s.Name
		}
		seen[s.Name] = 1
		if s.Name != name {
			s.note("another service has the name %q", name)
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Service) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
