package handlers

import (
	"fmt"
	"strings"
)

// checkMaps refuses maps that use what a map defines: in the source, in the outputs or in the
// defaults. Caddy looks a placeholder of a map up when it is used. One that leads back to itself
// would have no end, and the stack overflow would end the process. A row of maps, in which each
// uses the one before twice, does come to an end, but after a time and with a length that double
// with each. So none is allowed.
func checkMaps(lists ...any) error {
	var maps []object
	for _, list := range lists {
		eachHandler(list, func(handler object) {
			if handler["handler"] == "map" {
				maps = append(maps, handler)
			}
		})
	}
	var defined []string
	for _, m := range maps {
		eachText(m["destinations"], func(name string) { defined = append(defined, name) })
	}
	var used string
	for _, m := range maps {
		for _, of := range []any{m["source"], m["mappings"], m["defaults"]} {
			eachText(of, func(text string) {
				for _, name := range defined {
					if strings.Contains(text, name) {
						used = name
					}
				}
			})
		}
	}
	if used != "" {
		return fmt.Errorf("a map uses the placeholder %.64s, which a map defines: this could have no end", used)
	}
	return nil
}

// eachText calls f with every text in JSON, names of members included.
func eachText(of any, f func(string)) {
	switch v := of.(type) {
	case string:
		f(v)
	case []any:
		for _, inner := range v {
			eachText(inner, f)
		}
	case object:
		for name, inner := range v {
			f(name)
			eachText(inner, f)
		}
	}
}
