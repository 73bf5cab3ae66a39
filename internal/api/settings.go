package api

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Setting is one option of a deploy. The table of them, [Settings], is where the flags of
// the command line, the bounds of values, and what people are told of a release come from.
//
// To add an option takes a row in the table, a field of the same JSON name in
// [DeployRequest] and, if a release keeps it, in [Options], and the code that uses it.
type Setting struct {
	// Name is how people write it, such as "hold-timeout".
	Name string
	// Group is what it is about, for help.
	Group Group
	// Field is its place in the JSON of a [DeployRequest], and of [Options] if a release
	// keeps it. A dot leads into an object, as in "tls.redirect". Default: Name, with
	// underscores.
	Field string
	// Text says what it does. The word in backquotes stands for the value.
	Text string
	// Default is what a request without it gets: a [Duration], a [Size], a bool, or a string; nil
	// if that depends on other settings, or is nothing.
	Default any
	// Min is the shortest [Duration] that it may be. The longest is [MaxTimeout].
	Min Duration
	// Choices are the values that it may have; none if there are no such.
	Choices []string
	// Absent is the word for no value. Default: the value as it is.
	Absent string
	// NotEmpty says that whoever gives it an empty value has made a mistake, such as a
	// variable that is not set: the default would take in other traffic.
	NotEmpty bool
	// Lines says that the value is a text of many lines, of which people are told no more than
	// whether it is another one.
	Lines bool
	// Verbatim says that the values of a list can have commas in them: on a command line, each
	// is given by itself.
	Verbatim bool
	// Secret says that people are told no more of the values of a list than what is before the
	// colons in them. On a command line, a file has them.
	Secret bool
}

// Group is what settings are about, as a heading.
type Group string

// Groups of settings; see [Groups].
const (
	GroupRoutes      Group = "Routes"
	GroupHealthCheck Group = "Health check"
	GroupTLS         Group = "TLS"
	GroupHandlers    Group = "Handlers"
	GroupTargets     Group = "Targets"
	GroupBodies      Group = "Bodies, error pages and logs"
	GroupRollout     Group = "Rollout"
	GroupDeploy      Group = "How the deploy goes"
)

// Groups returns the groups of settings, in the order in which people read of them.
func Groups() []Group {
	return []Group{GroupRoutes, GroupHealthCheck, GroupTLS, GroupHandlers, GroupTargets, GroupBodies, GroupRollout, GroupDeploy}
}

// settings is the table behind [Settings].
var settings = withPlaces([]Setting{
	{Name: "service", Group: GroupRoutes, Text: "`name` of the service (default: the first host, or \"default\")", NotEmpty: true},
	{Name: "host", Group: GroupRoutes, Field: "hosts", Text: "`hosts` to serve, such as app.example.com or *.example.com (default: all hosts that no other service has)", Absent: "any", NotEmpty: true},
	{Name: "path-prefix", Group: GroupRoutes, Field: "path_prefixes", Text: "`paths` to serve, such as /api (default: /)", NotEmpty: true},
	{Name: "strip-path-prefix", Group: GroupRoutes, Text: "remove the path prefix before forwarding", Default: true},
	{Name: "scope-cookie-paths", Group: GroupRoutes, Text: "put the path prefix that was removed before the paths of cookies that the application sets", Default: false},
	{Name: "forward-headers", Group: GroupRoutes, Text: "pass X-Forwarded-For, -Proto and -Host of every sender on to the application, which can be made up by clients", Default: false},
	{Name: "client-ip-header", Group: GroupRoutes, Text: "header `field` with the address of the client, such as CF-Connecting-IP, from senders that are believed", Absent: "none", NotEmpty: true},
	{Name: "health-check-path", Group: GroupHealthCheck, Text: "`path` that answers 2xx when an instance is ready", Default: DefaultHealthCheckPath},
	{Name: "health-check-port", Group: GroupHealthCheck, Text: "`port` to send health checks to (default: the port of the target)"},
	{Name: "health-check-host", Group: GroupHealthCheck, Text: "`host` that health checks ask for (default: the first host, or the target)", Absent: "default"},
	{Name: "health-check-header", Group: GroupHealthCheck, Field: "health_check_headers", Text: "extra header `fields` of health checks, such as 'X-Forwarded-Proto: https', which is sent automatically if the service has TLS", Absent: "none"},
	{Name: "health-check-status", Group: GroupHealthCheck, Text: "`statuses` that mean that an instance is ready, such as 200-399 or 200,204,301", Default: DefaultHealthCheckStatus, NotEmpty: true},
	{Name: "health-check-body", Group: GroupHealthCheck, Text: "`text` that the answer must also contain, in its first 64 KiB", Absent: "none", NotEmpty: true},
	{Name: "health-check-interval", Group: GroupHealthCheck, Text: "longest `pause` between two health checks", Default: DefaultHealthCheckInterval, Min: Duration(10 * time.Millisecond)},
	{Name: "health-check-timeout", Group: GroupHealthCheck, Text: "`time` that a health check may take", Default: DefaultHealthCheckTimeout, Min: Duration(time.Millisecond)},
	{Name: "warm", Group: GroupDeploy, Text: "`paths` to ask every new instance for before the switch, such as /,/login, to warm it up; what it answers is told", Absent: "none"},
	{Name: "warm-requests", Group: GroupDeploy, Text: "`number` of requests for each of them", Default: DefaultWarmRequests},
	{Name: "smoke", Group: GroupDeploy, Text: "`paths` that every new instance has to answer with a status below 400 before the switch, or the deploy fails", Absent: "none"},
	{Name: "deploy-timeout", Group: GroupDeploy, Text: "`time` within which the targets must become healthy", Default: DefaultDeployTimeout, Min: Duration(time.Millisecond)},
	{Name: "drain-timeout", Group: GroupDeploy, Text: "`time` that requests to the old release have to finish before they are cut", Default: DefaultDrainTimeout},
	{Name: "stream-timeout", Group: GroupDeploy, Text: "`time` after which WebSockets and event streams of the old release are closed", Default: DefaultStreamTimeout},
	{Name: "target-timeout", Group: GroupTargets, Text: "`time` within which a target must begin its answer; 0 waits for ever", Default: DefaultTargetTimeout},
	{Name: "target-ca", Group: GroupTargets, Text: "PEM `file` on the proxy's machine with the authorities to trust for https targets; the deploy reads it (default: the authorities that the machine trusts)", Absent: "none", NotEmpty: true},
	{Name: "target-server-name", Group: GroupTargets, Text: "`name` that the certificates of https targets must be valid for (default: the host of the target)", Absent: "none", NotEmpty: true},
	{Name: "target-insecure", Group: GroupTargets, Text: "accept any certificate of https targets", Default: false},
	{Name: "hold-timeout", Group: GroupTargets, Text: "`time` for which a request is held while no target can be reached", Default: DefaultHoldTimeout},
	{Name: "max-body", Group: GroupBodies, Text: "largest `size` of the body of a request, such as 10MB; a larger one is answered with 413", Absent: "none"},
	{Name: "buffer-requests", Group: GroupBodies, Text: "read the body of a request to its end before a target gets it", Default: false},
	{Name: "max-response-body", Group: GroupBodies, Text: "largest `size` of the body of an answer; a larger one is an error", Absent: "none"},
	{Name: "buffer-responses", Group: GroupBodies, Text: "read an answer that says how long it is to its end before the client gets it, so that slow clients keep no target busy", Default: false},
	{Name: "buffer-memory", Group: GroupBodies, Text: "`size` of what is buffered of one body in memory; the rest is in a temporary file", Default: DefaultBufferMemory},
	{Name: "error-pages", Group: GroupBodies, Text: "`directory` on the proxy's machine with templates such as 503.html for the proxy's own answers; the deploy reads it", Absent: "none", NotEmpty: true},
	{Name: "intercept-errors", Group: GroupBodies, Text: "`statuses` of the application's answers, such as 500-599 or 404,503, in whose place browsers get these pages", Absent: "none", NotEmpty: true},
	{Name: "log-request-header", Group: GroupBodies, Field: "log_request_headers", Text: "header `fields` of requests that lines of the access log have besides, such as User-Agent", Absent: "none", NotEmpty: true},
	{Name: "log-response-header", Group: GroupBodies, Field: "log_response_headers", Text: "header `fields` of answers that lines of the access log have besides, such as Cache-Control", Absent: "none", NotEmpty: true},
	{Name: "exclude-metrics-path", Group: GroupBodies, Field: "exclude_metrics_paths", Text: "`paths`, as the application gets them, of requests that metrics do not count, such as /up", Absent: "none", NotEmpty: true},
	{Name: "lb", Group: GroupTargets, Text: "`way` to spread requests over several targets: " + strings.Join(texts(LoadBalancings()), " or "), Default: string(LeastConn), Choices: texts(LoadBalancings())},
	{Name: "sticky", Group: GroupTargets, Text: "keep each client with one target, by a cookie", Default: false},
	{Name: "sticky-same-site", Group: GroupTargets, Text: "`value` of SameSite for that cookie: " + strings.Join(texts(SameSites()), " or ") + " (default: none over HTTPS, lax over HTTP, where browsers refuse none)", Choices: texts(SameSites()), Absent: string(SameSiteNone), NotEmpty: true},
	{Name: "read-target", Group: GroupTargets, Field: "read_targets", Text: "further `instances` that get requests that read (GET and HEAD) and no others, in place of the targets", NotEmpty: true},
	{Name: "writer-affinity", Group: GroupTargets, Text: "`time` for which a client that has written is not sent to read targets; a cookie keeps it", Default: DefaultWriterAffinity},
	{Name: "read-target-websockets", Group: GroupTargets, Text: "send WebSockets to read targets as well", Default: false},
	{Name: "tls", Group: GroupTLS, Field: "tls.issuer", Text: "serve HTTPS with certificates that are obtained and renewed automatically; the `issuer` is auto, or internal for the proxy's own authority, for development", Choices: texts([]Issuer{IssuerAuto, IssuerInternal})},
	{Name: "tls-wait", Group: GroupTLS, Field: "tls.wait", Text: "wait for the certificates before switching, and fail without them", Default: true},
	{Name: "tls-redirect", Group: GroupTLS, Field: "tls.redirect", Text: "redirect HTTP to HTTPS", Default: true},
	{Name: "tls-certificate-path", Group: GroupTLS, Field: "tls.certificate_path", Text: "PEM `file` on the proxy's machine with your own certificate and its chain", Absent: "none", NotEmpty: true},
	{Name: "tls-private-key-path", Group: GroupTLS, Field: "tls.private_key_path", Text: "PEM `file` on the proxy's machine with its private key", Absent: "none", NotEmpty: true},
	{Name: "tls-on-demand-url", Group: GroupTLS, Field: "tls.on_demand_url", Text: "`URL`, or path of the service, that answers 200 for names that may get a certificate at their first handshake", Absent: "none", NotEmpty: true},
	{Name: "before-switch", Group: GroupDeploy, Text: "`URL` that is asked before the switch whether it may happen, and can refuse it", Absent: "none", NotEmpty: true},
	{Name: "header", Group: GroupHandlers, Field: "headers", Text: "`field` that every answer has, such as 'X-Frame-Options: DENY', or one that none has, as -Server; for several, give it several times: what is given replaces all that the service has", Absent: "none", NotEmpty: true, Verbatim: true},
	{Name: "hsts", Group: GroupHandlers, Text: "`value` of Strict-Transport-Security, with which browsers use HTTPS alone; without a value: " + DefaultHSTS, Absent: "none", NotEmpty: true},
	{Name: "deny-ip", Group: GroupHandlers, Text: "`addresses` or ranges, such as 192.0.2.0/24, of clients that are refused; they replace those that the service has", Absent: "none", NotEmpty: true},
	{Name: "allow-ip", Group: GroupHandlers, Text: "`addresses` or ranges of the only clients that are not refused; they replace those that the service has", Absent: "all", NotEmpty: true},
	{Name: "redirect", Group: GroupHandlers, Field: "redirects", Text: "`paths` and where to send their clients, as '/old /new' or '/blog/* https://blog.example.com{uri} 301'; for several, give it several times: what is given replaces all that the service has", Absent: "none", NotEmpty: true, Verbatim: true},
	{Name: "rate-limit", Group: GroupHandlers, Text: "`number` of requests that a client may make in a time, such as 100/1m; the program needs a plugin for it", Absent: "none", NotEmpty: true},
	{Name: "basic-auth-file", Group: GroupHandlers, Field: "basic_auth", Text: "`file` with a name and a password, or its hash, in each line, as name:password: nobody else gets in", Absent: "none", NotEmpty: true, Secret: true},
	{Name: "forward-auth", Group: GroupHandlers, Text: "`URL` that is asked of every request whether it may pass, such as http://authelia:9091/check", Absent: "none", NotEmpty: true},
	{Name: "forward-auth-header", Group: GroupHandlers, Field: "forward_auth_headers", Text: "header `fields` of its answer that the target gets, such as Remote-User", Absent: "none", NotEmpty: true},
	{Name: "compress", Group: GroupHandlers, Text: "compress answers for clients that accept it", Default: false},
	{Name: "rewrite", Group: GroupHandlers, Field: "rewrites", Text: "`paths` and what the target is asked for instead, as '/old /new' or '/app/* /v2{uri}'; for several, give it several times: what is given replaces all that the service has", Absent: "none", NotEmpty: true, Verbatim: true},
	{Name: "with", Group: GroupHandlers, Text: "`file` with directives of a Caddyfile, such as encode or request_body, for this service alone", Absent: "none", NotEmpty: true, Lines: true},
	{Name: "watch", Group: GroupRollout, Text: "`time` to watch the new release while the old one stays ready: if it fails more than it may, the old one serves again"},
	{Name: "canary", Group: GroupRollout, Text: "`share` of the clients that get the new release, such as 10%, until it is promoted or aborted with parachute rollout", NotEmpty: true},
	{Name: "steps", Group: GroupRollout, Text: "`shares` with the times that they last, such as 5%/2m,25%/5m,100%", NotEmpty: true},
	{Name: "slow-start", Group: GroupRollout, Text: "`time` in which the share of the new release grows from nothing to all"},
	{Name: "canary-by", Group: GroupRollout, Text: "what a client is `known` by: cookie, cookie:NAME for one that the application sets, ip or header:NAME (default: cookie)", NotEmpty: true},
	{Name: "max-error-rate", Group: GroupRollout, Text: "`share` of the requests to the new release that may fail; twice what the old one had, if that is more (default: " + DefaultMaxErrorRate + ")", NotEmpty: true},
	{Name: "max-slow", Group: GroupRollout, Text: "`share` of the requests that may take longer than 95% of those to the old release (default: all)", NotEmpty: true},
	{Name: "min-requests", Group: GroupRollout, Text: fmt.Sprintf("`number` of requests that the new release must have had to be trusted (default: %d)", DefaultMinRequests)},
	{Name: "on-inconclusive", Group: GroupRollout, Text: "what to do when it had fewer: " + strings.Join(texts(inconclusives()), " or ") + " (default: pause for a step, promote for a watch)", Choices: texts(inconclusives()), NotEmpty: true},
	{Name: "check-url", Group: GroupRollout, Text: "`URL` that is asked as well whether the new release is fine: 2xx yes, 5xx no", NotEmpty: true},
	{Name: "keep", Group: GroupRollout, Text: "keep the old release ready for a rollback in an instant; its instances must not be removed", Default: false},
	{Name: "canonical-host", Group: GroupRoutes, Text: "`host` to redirect the other hosts to", Absent: "none", NotEmpty: true},
	{Name: "client-ca", Group: GroupTLS, Text: "PEM `file` with the authorities that certificates of clients have to come from", Absent: "none", NotEmpty: true, Lines: true},
	{Name: "client-auth", Group: GroupTLS, Text: "whether a client needs a certificate: `required` or optional (default: required)", Choices: texts(ClientAuths()), Absent: string(ClientAuthRequired), NotEmpty: true},
	{Name: "take-over", Group: GroupRoutes, Text: "also take routes that belong to other services, at the switch; a service with no route left is drained and removed", Default: false},
	{Name: "reset", Group: GroupDeploy, Text: "start from the defaults instead of what the service has", Default: false},
	{Name: "label", Group: GroupDeploy, Field: "note.label", Text: "`text` that describes the release, such as its version"},
	{Name: "commit", Group: GroupDeploy, Field: "note.commit", Text: "`hash` of the commit that the release was built from"},
	{Name: "by", Group: GroupDeploy, Field: "note.by", Text: "`name` of the person or program that deploys it"},
	{Name: "fail-on-cut", Group: GroupDeploy, Text: "fail if requests or streams of the old release had to be cut; the new release serves anyway", Default: false},
	{Name: "force", Group: GroupDeploy, Text: "skip the health check", Default: false},
	{Name: "without", Group: GroupDeploy, Text: "`proxies` of the fleet that are known to be gone: the deploy does not wait for them", NotEmpty: true},
	{Name: "detach", Group: GroupDeploy, Text: "return as soon as the deployment is accepted; it goes on by itself", Default: false},
})

// withPlaces fills in the places that follow from names.
func withPlaces(rows []Setting) []Setting {
	for i := range rows {
		rows[i].Field = cmp.Or(rows[i].Field, strings.ReplaceAll(rows[i].Name, "-", "_"))
	}
	return rows
}

// texts returns values as plain strings.
func texts[S ~string](values []S) []string {
	all := make([]string, len(values))
	for i, v := range values {
		all[i] = string(v)
	}
	return all
}

// Settings returns all options of a deploy, in the order in which people read of them. The
// targets are none: a deploy is of them.
func Settings() []Setting { return slices.Clone(settings) }

// Place returns where the setting is in the JSON of a request, such as "tls.redirect".
func (s Setting) Place() string { return s.Field }

// words returns the name for a message.
func (s Setting) words() string {
	if s.Name == "lb" {
		return "load balancing"
	}
	return strings.ReplaceAll(s.Name, "-", " ")
}

// In returns the setting's value in a [DeployRequest] or in [Options], which of has to
// point to, as something that can be set. It returns false if there is no such field, or
// none as long as the object around it is nil.
func (s Setting) In(of any) (reflect.Value, bool) {
	v := reflect.ValueOf(of).Elem()
	for name := range strings.SplitSeq(s.Field, ".") {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return reflect.Value{}, false
			}
			v = v.Elem()
		}
		i, ok := fieldsByName[v.Type()][name]
		if !ok {
			return reflect.Value{}, false
		}
		v = v.Field(i)
	}
	return v, true
}

// fieldsByName finds the fields of what has settings by their names in JSON. A start
// resolves every service that is stored, so names are not looked for anew each time.
var fieldsByName = map[reflect.Type]map[string]int{
	reflect.TypeFor[DeployRequest](): indexOf(reflect.TypeFor[DeployRequest]()),
	reflect.TypeFor[TLSRequest]():    indexOf(reflect.TypeFor[TLSRequest]()),
	reflect.TypeFor[Note]():          indexOf(reflect.TypeFor[Note]()),
	reflect.TypeFor[Options]():       indexOf(reflect.TypeFor[Options]()),
	reflect.TypeFor[TLSOptions]():    indexOf(reflect.TypeFor[TLSOptions]()),
}

func indexOf(t reflect.Type) map[string]int {
	all := make(map[string]int)
	for i, name := range jsonNames(t) {
		all[name] = i
	}
	return all
}

// jsonNames returns the names that the fields of a struct have in JSON.
func jsonNames(t reflect.Type) []string {
	names := make([]string, t.NumField())
	for i := range names {
		names[i], _, _ = strings.Cut(t.Field(i).Tag.Get("json"), ",")
	}
	return names
}

// Show returns the value that a release has for people to read, and whether the release
// has one: it does not keep all settings.
func (s Setting) Show(o *Options) (text string, kept bool) {
	if s.Name == "tls" {
		return o.TLS.String(), true
	}
	v, ok := s.In(o)
	if !ok {
		return "", false
	}
	if list, isList := v.Interface().([]string); isList && s.Secret && len(list) > 0 {
		return namesIn(list), true
	} else if isList {
		return cmp.Or(strings.Join(list, ","), s.Absent), true
	}
	if v.IsZero() && s.Absent != "" {
		return s.Absent, true
	}
	if s.Lines {
		return summaryOf(v.String()), true
	}
	return fmt.Sprint(v.Interface()), true
}

// Value is a setting of a release for people to read.
type Value struct{ Name, Text string }

// NotDefault returns the settings of a release that are not what a deploy gets which does
// not mention them.
func (o *Options) NotDefault() (all []Value) {
	plain := defaultOptions(o.TLS != nil)
	for _, setting := range settings {
		text, kept := setting.Show(o)
		if byDefault, _ := setting.Show(&plain); kept && text != byDefault {
			all = append(all, Value{setting.Name, text})
		}
	}
	return all
}

// defaultOptions returns what a deploy gets that names nothing, but perhaps TLS.
func defaultOptions(tls bool) Options {
	plain := DeployRequest{Targets: []string{"any:1"}}
	if tls {
		plain.TLS = &TLSRequest{OnDemandURL: "/"} // which needs no host
	}
	s, err := plain.Resolve()
	if err != nil {
		panic(err) // defaults are valid
	}
	if tls {
		s.Options.TLS.OnDemandURL = ""
	}
	return s.Options
}

// Changes describes, for people, what differs between the hosts and settings of two
// releases, each as "name: old -> new". Of a list whose values can have commas in them, each value that
// comes or goes is told by itself, as "name: + value" or "name: - value". Targets always differ and are
// left out.
func Changes(oldHosts []string, a Options, nextHosts []string, b Options) []string {
	var all []string
	for _, s := range settings {
		from, inA := s.Show(&a)
		to, inB := s.Show(&b)
		if s.Name == "host" {
			from, to = strings.Join(oldHosts, ","), strings.Join(nextHosts, ",")
			from, to, inA, inB = cmp.Or(from, s.Absent), cmp.Or(to, s.Absent), true, true
		}
		if s.Verbatim && inA && inB {
			all = append(all, s.changesOf(&a, &b)...)
		} else if inA && inB && from != to {
			all = append(all, fmt.Sprintf("%s: %s -> %s", s.Name, from, to))
		}
	}
	return all
}

// changesOf describes what differs between the lists that two releases have.
func (s Setting) changesOf(a, b *Options) (all []string) {
	from, _ := s.In(a)
	to, _ := s.In(b)
	old, next := from.Interface().([]string), to.Interface().([]string)
	for _, v := range old {
		if !slices.Contains(next, v) {
			all = append(all, fmt.Sprintf("%s: - %s", s.Name, v))
		}
	}
	for _, v := range next {
		if !slices.Contains(old, v) {
			all = append(all, fmt.Sprintf("%s: + %s", s.Name, v))
		}
	}
	if len(all) == 0 && !slices.Equal(old, next) {
		all = append(all, s.Name+": the order has changed")
	}
	return all
}

// resolveSettings fills in the settings that a release keeps from the request or their
// defaults, and checks their bounds. What more there is to say of a value, other steps of
// [DeployRequest.Resolve] say.
func (r DeployRequest) resolveSettings(s *Spec) error {
	for _, setting := range settings {
		if strings.Contains(setting.Field, ".") {
			continue // resolveTLS fills those in
		}
		given, ok := setting.In(&r)
		if !ok {
			continue
		}
		value := given
		switch {
		case given.Kind() == reflect.Pointer && !given.IsNil():
			value = given.Elem()
		case given.IsZero() && setting.Default != nil:
			value = reflect.ValueOf(setting.Default)
		}
		if err := setting.check(value); err != nil {
			return err
		}
		if to, kept := setting.In(&s.Options); kept && to.Kind() != reflect.Slice {
			to.Set(value.Convert(to.Type()))
		}
	}
	return nil
}

// check returns an [Error] with [CodeInvalid] if v is out of the setting's bounds, or not
// among its choices.
func (s Setting) check(v reflect.Value) error {
	if d, ok := v.Interface().(Duration); ok && (d < s.Min || d > MaxTimeout) {
		return Invalid("%s %s is out of range; use a value from %s to %s", s.words(), d, boundName(s.Min), boundName(MaxTimeout))
	}
	if v.Kind() == reflect.String && s.Choices != nil && v.String() != "" && !slices.Contains(s.Choices, v.String()) {
		return Invalid("unknown %s %.64q; use %s", s.words(), v.String(), strings.Join(s.Choices, " or "))
	}
	return nil
}

func boundName(d Duration) string {
	if d == MaxTimeout {
		return "24h"
	}
	return fmt.Sprint(d)
}
