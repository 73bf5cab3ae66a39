package proxy

// lineup is what becomes of the requests for a service at a moment. It is immutable: every
// change of it is one store in the claim of the service.
type lineup struct {
	// active is the release that serves.
	active *release
	// hold says that requests are not served; nil if they are.
	hold *hold
}
