package run

// keepOddNames has a server of ours hand us all header fields, unless its names have been
// decided on: Caddy drops those with an underscore or a dot in their names.
func (o *options) keepOddNames(our object) {
	if o.dropOddNames || our["expected_underscore_headers"] != nil || our["expected_dot_headers"] != nil {
		return
	}
	source := object{"source": "parachute"}
	if trusted := our["trusted_proxies"]; trusted != nil {
		source["trusted"] = trusted
	}
	our["trusted_proxies"] = source
}

// trustedProxiesOf returns who is trusted by a server that keepOddNames has been applied
// to or not, or nil.
func trustedProxiesOf(our object) any {
	if source, ok := our["trusted_proxies"].(object); ok && source["source"] == "parachute" {
		return source["trusted"]
	}
	return our["trusted_proxies"]
}

// letOddNamesBe undoes keepOddNames.
func letOddNamesBe(our object) {
	trusted := trustedProxiesOf(our)
	delete(our, "trusted_proxies")
	if trusted != nil {
		our["trusted_proxies"] = trusted
	}
}
