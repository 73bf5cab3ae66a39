package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Patch is a deploy as it is asked for: a JSON merge patch (RFC 7396) of the
// [DeployRequest] that its service has. It changes what it names and keeps the rest; what
// it names as null has its default again. For a new service, the rest are the defaults.
type Patch map[string]any

// ParsePatch reads a patch. It refuses names that no field has and values of another type.
func ParsePatch(b []byte) (Patch, error) {
	var req DeployRequest
	if err := DecodeStrictly(b, &req); err != nil {
		return nil, err
	}
	var p Patch
	decoder := json.NewDecoder(bytes.NewReader(b))
	decoder.UseNumber()
	if err := decoder.Decode(&p); err != nil {
		return nil, err
	}
	if p == nil {
		return nil, errors.New("it is null")
	}
	tls, _ := p["tls"].(map[string]any)
	note, _ := p["note"].(map[string]any)
	for of, fields := range map[reflect.Type]map[string]any{
		reflect.TypeFor[DeployRequest](): p, reflect.TypeFor[TLSRequest](): tls, reflect.TypeFor[Note](): note,
	} {
		for name := range fields {
			// Go takes a name in any case, which would be another name to the merge.
			if _, ok := fieldsByName[of][name]; !ok {
				return nil, unknownField(name)
			}
		}
	}
	return p, nil
}

// DecodeStrictly reads one JSON value that has no unknown fields and nothing behind it.
func DecodeStrictly(b []byte, to any) error {
	decoder := json.NewDecoder(bytes.NewReader(b))
	decoder.DisallowUnknownFields()
	switch err := decoder.Decode(to); {
	case errors.Is(err, io.EOF):
		return errors.New("it is empty")
	case err != nil:
		return describeDecoding(err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return errors.New("there is more than one JSON value")
	}
	return nil
}

// describeDecoding says what is wrong with JSON to somebody who does not know Go.
func describeDecoding(err error) error {
	kinds := map[reflect.Kind]string{
		reflect.String: "a string", reflect.Bool: "true or false", reflect.Slice: "a list", reflect.Struct: "an object", reflect.Map: "an object",
		reflect.Int: "a whole number", reflect.Int64: "a whole number", reflect.Float64: "a number",
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		kind := wrong.Type
		if kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}
		if wanted := kinds[kind.Kind()]; wanted != "" && wrong.Field != "" {
			return fmt.Errorf("%s has to be %s, and is a JSON %s", wrong.Field, wanted, wrong.Value)
		}
	}
	text := strings.TrimPrefix(err.Error(), "json: ")
	if name, ok := strings.CutPrefix(text, "unknown field "); ok {
		return unknownField(strings.Trim(name, `"`))
	}
	return errors.New(text)
}

// unknownField returns the error of a name that no field has. Who knows the command line may have
// written the name of a flag.
func unknownField(name string) error {
	i := slices.IndexFunc(settings, func(s Setting) bool {
		return name != s.Field && (name == s.Name || name == strings.ReplaceAll(s.Name, "-", "_"))
	})
	switch {
	case i < 0:
		return fmt.Errorf("unknown field %q", name)
	case settings[i].Secret:
		return fmt.Errorf("unknown field %q; use %s with a list of NAME:HASH, since the hashes themselves are there and no file is read", name, settings[i].Field)
	}
	return fmt.Errorf("unknown field %q; use %s", name, settings[i].Field)
}

// Patch returns the patch that names what r does not leave out.
func (r DeployRequest) Patch() Patch {
	var p Patch
	b, err := json.Marshal(r)
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err != nil {
		panic(err) // a request is made of what JSON has
	}
	return p
}

// Set names a value at a place such as "tls.redirect"; nil is the default.
func (p Patch) Set(place string, value any) {
	name, inner, nested := strings.Cut(place, ".")
	if !nested {
		p[name] = value
		return
	}
	object, ok := p[name].(map[string]any)
	if !ok {
		object = make(map[string]any)
		p[name] = object
	}
	Patch(object).Set(inner, value)
}

// Names reports whether p names a place such as "tls.redirect".
func (p Patch) Names(place string) bool {
	name, inner, nested := strings.Cut(place, ".")
	value, ok := p[name]
	if object, isObject := value.(map[string]any); nested && isObject {
		return Patch(object).Names(inner)
	}
	return ok
}

// Sets reports whether p names a value at a place such as "tls.redirect". Null and the empty
// text are the default, and so are none.
func (p Patch) Sets(place string) bool {
	name, inner, nested := strings.Cut(place, ".")
	if nested {
		object, _ := p[name].(map[string]any)
		return Patch(object).Sets(inner)
	}
	return p[name] != nil && p[name] != ""
}

// Service returns the name of the service that p is about, or an [Error] with
// [CodeInvalid].
func (p Patch) Service() (string, error) {
	req, err := p.Apply(nil)
	if err != nil {
		return "", err
	}
	var s Spec
	if err := req.resolveRoutes(&s); err != nil {
		return "", err
	}
	s.Service = req.Service
	err = req.resolveName(&s)
	return s.Service, err
}

// Apply returns the request that p makes of what a service has; nil stands for a new
// service. A patch with "reset" starts from the defaults.
func (p Patch) Apply(to *Spec) (DeployRequest, error) {
	base := Patch{}
	if reset, _ := p["reset"].(bool); to != nil && !reset {
		base = to.Request().Patch()
	}
	merged := merge(base, p)
	for name, value := range p {
		if _, has := base[name]; !has && onlyDefaults(value) {
			// What there is nothing of has nothing to reset: an empty object is
			// something else, such as HTTPS.
			delete(merged, name)
		}
	}
	b, err := json.Marshal(merged)
	if err != nil {
		return DeployRequest{}, Invalid("%v", err)
	}
	var req DeployRequest
	if err := DecodeStrictly(b, &req); err != nil {
		return DeployRequest{}, Invalid("%v", err)
	}
	req.dropKept(p)
	return req, nil
}

// SaysTLS reports whether p says if the service is to have TLS.
func (p Patch) SaysTLS() bool {
	value, named := p["tls"]
	return named && !onlyDefaults(value)
}

// onlyDefaults reports whether a value in a patch is an object that names members, and none
// of them but as null.
func onlyDefaults(value any) bool {
	object, ok := value.(map[string]any)
	for _, member := range object {
		ok = ok && member == nil
	}
	return ok && len(object) > 0
}

// dropKept takes settings out of r that were kept, and not named by p, and that p makes mean
// nothing: they were about others that the service has no more.
func (r *DeployRequest) dropKept(p Patch) {
	if !r.Sticky && !p.Names("sticky_same_site") {
		r.StickySameSite = ""
	}
	if r.TLS != nil {
		r.TLS = r.TLS.withoutOther(p)
	}
	if p.Names("targets") && !p.Names("read_targets") {
		r.ReadTargets = nil
	}
	if len(r.ReadTargets) == 0 && !p.Names("read_target_websockets") {
		r.ReadTargetWebSockets = false
	}
	plain := slices.ContainsFunc(slices.Concat(r.Targets, r.ReadTargets), func(target string) bool {
		t, err := ParseTarget(target)
		return err == nil && t.Scheme != "https"
	})
	if (plain || p["target_insecure"] == true) && !p.Names("target_ca") {
		r.TargetCA = ""
	}
	if plain && !p.Names("target_server_name") {
		r.TargetServerName = ""
	}
	if (plain || p.Sets("target_ca")) && !p.Names("target_insecure") {
		r.TargetInsecure = false
	}
}

// merge is MergePatch of RFC 7396, section 2, for two objects.
func merge(target, patch map[string]any) map[string]any {
	merged := maps.Clone(target)
	if merged == nil {
		merged = make(map[string]any)
	}
	for name, value := range patch {
		inner, isObject := value.(map[string]any)
		switch {
		case value == nil:
			delete(merged, name)
		case isObject:
			before, _ := merged[name].(map[string]any)
			merged[name] = merge(before, inner)
		default:
			merged[name] = value
		}
	}
	return merged
}

// Request returns the request for what a release of s keeps. How one deployment goes
// about it is not in it, such as [DeployRequest.Force].
func (s *Spec) Request() DeployRequest {
	r := DeployRequest{Service: s.Service, Targets: TargetNames(s.Targets), ReadTargets: TargetNames(s.ReadTargets), Hosts: s.Hosts}
	// What a release keeps has the name that it has in a request.
	b, err := json.Marshal(s.Options)
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		panic(err) // options are made of what JSON has
	}
	return r
}
