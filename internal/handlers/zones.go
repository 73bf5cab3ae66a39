package handlers

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// nameZones puts the name of the service before those of the zones of its rate limits: zones of
// one name share their counts in the whole process.
func (a *Adapted) nameZones(service string) error {
	return a.edit("rate_limit", func(handler object) {
		zones := at(handler, "rate_limits")
		if len(zones) == 0 {
			return
		}
		named := make(object, len(zones))
		for name, zone := range zones {
			named[service+"/"+name] = zone
		}
		handler["rate_limits"] = named
	})
}

// edit calls f with every handler of a name, and keeps what f makes of it.
func (a *Adapted) edit(name string, f func(handler object)) error {
	for _, raw := range []*json.RawMessage{&a.Routes, &a.Errors} {
		if !bytes.Contains(*raw, []byte(strconv.Quote(name))) {
			continue
		}
		var list any
		decoder := json.NewDecoder(bytes.NewReader(*raw))
		decoder.UseNumber()
		if err := decoder.Decode(&list); err != nil {
			return err
		}
		eachHandler(list, func(handler object) {
			if handler["handler"] == name {
				f(handler)
			}
		})
		b, err := json.Marshal(list)
		if err != nil {
			return err
		}
		*raw = b
	}
	return nil
}

// has reports whether a handler is among those of requests.
func (a *Adapted) has(name string) (found bool) {
	var list any
	if a.Routes != nil && json.Unmarshal(a.Routes, &list) == nil {
		eachHandler(list, func(handler object) { found = found || handler["handler"] == name })
	}
	return found
}

// eachHandler calls f with everything in JSON that is a handler.
func eachHandler(of any, f func(object)) {
	switch v := of.(type) {
	case []any:
		for _, inner := range v {
			eachHandler(inner, f)
		}
	case object:
		if _, ok := v["handler"].(string); ok {
			f(v)
		}
		for _, inner := range v {
			eachHandler(inner, f)
		}
	}
}
