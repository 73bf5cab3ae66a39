package kamal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"
)

// savedService is a service in the state file of a kamal-proxy, of any version. What a version does
// not write is absent; what this program does not know is left out.
type savedService struct {
	Name          string             `json:"name"`
	Options       savedOptions       `json:"options"`
	TargetOptions savedTargetOptions `json:"target_options"`
	// Targets and readers are addresses, of which the port may be absent.
	ActiveTargets  []string      `json:"active_targets"`
	ActiveReaders  []string      `json:"active_readers"`
	RolloutTargets []string      `json:"rollout_targets"`
	RolloutReaders []string      `json:"rollout_readers"`
	Pause          *savedPause   `json:"pause_controller"`
	Rollout        *savedRollout `json:"rollout_controller"`

	// These are of versions up to 0.8.7, and the last of those up to 0.7.
	ActiveTarget  string   `json:"active_target"`
	RolloutTarget string   `json:"rollout_target"`
	Hosts         []string `json:"hosts"`
	PathPrefixes  []string `json:"path_prefixes"`
	Host          string   `json:"host"`
}

// savedOptions are times in nanoseconds, as in all of the file.
type savedOptions struct {
	Hosts                []string      `json:"hosts"`
	PathPrefixes         []string      `json:"path_prefixes"`
	TLSEnabled           bool          `json:"tls_enabled"`
	TLSHostname          string        `json:"tls_hostname"` // up to 0.7, in place of TLSEnabled
	CertificatePath      string        `json:"tls_certificate_path"`
	PrivateKeyPath       string        `json:"tls_private_key_path"`
	OnDemandURL          string        `json:"tls_on_demand_url"`
	TLSRedirect          *bool         `json:"tls_redirect"`
	CanonicalHost        string        `json:"canonical_host"`
	ACMEDirectory        string        `json:"acme_directory"`
	ACMECachePath        string        `json:"acme_cache_path"`
	ErrorPagePath        string        `json:"error_page_path"`
	StripPrefix          *bool         `json:"strip_prefix"`
	WriterAffinity       time.Duration `json:"writer_affinity_timeout"`
	ReadTargetWebSockets bool          `json:"read_targets_accept_websockets"`
	ExcludeMetricsPaths  []string      `json:"exclude_metrics_paths"`
	ClientIPHeader       string        `json:"client_ip_header"`
}

type savedTargetOptions struct {
	HealthCheck struct {
		Path     string        `json:"path"`
		Port     int           `json:"port"`
		Interval time.Duration `json:"interval"`
		Timeout  time.Duration `json:"timeout"`
		Host     string        `json:"host"`
	} `json:"health_check_config"`
	ResponseTimeout    time.Duration `json:"response_timeout"`
	BufferRequests     bool          `json:"buffer_requests"`
	BufferResponses    bool          `json:"buffer_responses"`
	BufferMemory       int64         `json:"max_memory_buffer_size"`
	MaxRequestBody     int64         `json:"max_request_body_size"`
	MaxResponseBody    int64         `json:"max_response_body_size"`
	LogRequestHeaders  []string      `json:"log_request_headers"`
	LogResponseHeaders []string      `json:"log_response_headers"`
	ForwardHeaders     bool          `json:"forward_headers"`
	ScopeCookiePaths   bool          `json:"scope_cookie_paths"`
}

// savedPause is what becomes of the requests for a service: 0 they are served, 1 they wait, 2 they
// are refused.
type savedPause struct {
	State       int           `json:"state"`
	StopMessage string        `json:"stop_message"`
	FailAfter   time.Duration `json:"fail_after"`
}

type savedRollout struct {
	Percentage int      `json:"percentage"`
	Allowlist  []string `json:"allowlist"`
	Disabled   bool     `json:"disabled"`
}

// maxState bounds the state file, in bytes. A service has about a thousand.
const maxState = 64 << 20

// errEmptyState is that of a file that kamal-proxy was about to write when it ended.
var errEmptyState = errors.New("the file is empty: kamal-proxy ended while it wrote it, so it is not known what it has served")

// element is a service as the file has it, or why it cannot be read.
type element struct {
	// name is empty if it is not known.
	name  string
	saved *savedService
	err   error
	// hash is that of all that the file has of it; empty if it cannot be read.
	hash string
}

// parseState returns the services in a state file. kamal-proxy does not write it in one step, so it
// may be cut off: then the services up to there are returned, and an error.
func parseState(b []byte) ([]element, error) {
	if len(b) > maxState {
		return nil, fmt.Errorf("the file has more than %d bytes", maxState)
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return nil, errEmptyState
	}
	d := json.NewDecoder(bytes.NewReader(b))
	token, err := d.Token()
	if token == json.Delim('{') {
		// A fork of kamal-proxy writes {"version":N,"services":[...]}.
		err = skipTo(d, "services")
		if err == nil {
			token, err = d.Token()
		}
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("the file is no state of kamal-proxy: %w", whatIsWrong(err))
	case token == nil: // null
		return nil, nil
	case token != json.Delim('['):
		return nil, errors.New("the file is no state of kamal-proxy: it has no list of services")
	}
	var all []element
	for d.More() {
		begin := d.InputOffset()
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			torn := fmt.Errorf("the file is cut off or damaged behind %d services: %w", len(all), whatIsWrong(err))
			if name := nameIn(b[begin:]); name != "" {
				all = append(all, element{name: name, err: errors.New("its entry in the state of kamal-proxy is cut off or damaged")})
			}
			return all, torn
		}
		all = append(all, parseElement(raw))
	}
	if _, err := d.Token(); err != nil {
		return all, fmt.Errorf("the file is cut off behind %d services, so there may have been more", len(all))
	}
	return all, nil
}

func parseElement(raw []byte) element {
	var s savedService
	if err := json.Unmarshal(raw, &s); err != nil {
		var named struct {
			Name string `json:"name"`
		}
		_ = json.Unmarshal(raw, &named)
		return element{name: named.Name, err: fmt.Errorf("its entry in the state of kamal-proxy cannot be read: %w", err)}
	}
	return element{name: s.Name, saved: &s, hash: hashOf(raw)}
}

// hashOf returns what is kept of a text to see whether it changes.
func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// skipTo leaves d before the value of a member of the object that it is in.
func skipTo(d *json.Decoder, member string) error {
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		if name == member {
			return nil
		}
		var other json.RawMessage
		if err := d.Decode(&other); err != nil {
			return err
		}
	}
	return fmt.Errorf("it has no %q", member)
}

func whatIsWrong(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it ends too early")
	}
	return err
}

// firstName finds the name of the service at the beginning of what cannot be decoded: kamal-proxy
// writes it first.
var firstName = regexp.MustCompile(`^[\s,]*\{\s*"name"\s*:\s*"((?:[^"\\]|\\.)*)"`)

func nameIn(b []byte) string {
	found := firstName.FindSubmatch(b)
	if found == nil {
		return ""
	}
	var name string
	_ = json.Unmarshal(append(append([]byte{'"'}, found[1]...), '"'), &name)
	return name
}
