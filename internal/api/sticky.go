package api

// SameSite says with which requests a browser sends a cookie.
type SameSite string

// The values of [DeployRequest.StickySameSite].
const (
	// SameSiteLax is for requests of the same site, and for links to it.
	SameSiteLax SameSite = "lax"
	// SameSiteStrict is for requests of the same site alone.
	SameSiteStrict SameSite = "strict"
	// SameSiteNone is for requests of all sites. Browsers take it over HTTPS alone.
	SameSiteNone SameSite = "none"
)

// SameSites returns the values in the order in which people read of them.
func SameSites() []SameSite { return []SameSite{SameSiteNone, SameSiteLax, SameSiteStrict} }

// resolveSticky refuses what says something about a cookie that there is not.
func (r DeployRequest) resolveSticky(*Spec) error {
	if r.StickySameSite != "" && !r.Sticky {
		return Invalid("%s has no effect without %s", Field("sticky_same_site"), Field("sticky")).
			WithHint("set %s as well, or leave %s out", Field("sticky"), Field("sticky_same_site"))
	}
	return nil
}
