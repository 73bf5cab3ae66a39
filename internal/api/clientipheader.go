package api

import "net/textproto"

// resolveClientIPHeader is for [DeployRequest.ClientIPHeader]. Names are kept as requests have
// them in a map of header fields.
func (r DeployRequest) resolveClientIPHeader(s *Spec) error {
	if r.ClientIPHeader == "" {
		return nil
	}
	if err := checkFieldName(r.ClientIPHeader); err != nil {
		return Invalid("%s: %v", Field("client_ip_header"), err)
	}
	s.Options.ClientIPHeader = textproto.CanonicalMIMEHeaderKey(r.ClientIPHeader)
	return nil
}
