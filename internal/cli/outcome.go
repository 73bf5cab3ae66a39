package cli

import (
	"fmt"

	"github.com/parachute-proxy/parachute/internal/api"
)

// OutcomeOf says what serves now that a deployment is done: by then, it need not be
// its release any more.
func OutcomeOf(s api.DeploymentStatus) string {
	switch s.Serving {
	case s.Release:
		return fmt.Sprintf("%s v%d is live", s.Service, s.Release)
	case 0:
		return fmt.Sprintf("%s v%d was live; the service has been removed since", s.Service, s.Release)
	}
	return fmt.Sprintf("%s v%d was live; v%d has replaced it since", s.Service, s.Release, s.Serving)
}

// DescribeFailure returns the error of a deployment, with what serves now.
func DescribeFailure(s api.DeploymentStatus) error {
	e := *s.Error
	switch {
	case e.Code == api.CodeDrainTimeout:
		e.Message = OutcomeOf(s) + ", but " + e.Message
	case e.Code != api.CodeNotHealthy && e.Code != api.CodeSuperseded && e.Code != api.CodeCertificate && e.Code != api.CodeVetoed:
	case e.Code == api.CodeSuperseded:
		// What has ended it may be about to replace that release, or to take its routes.
		if s.Serving > 0 && s.Rollout == nil {
			e.Message += fmt.Sprintf("; %s v%d was serving at that time", s.Service, s.Serving)
		}
	case s.Serving > 0:
		e.Message += fmt.Sprintf("; %s v%d still serves all traffic", s.Service, s.Serving)
	default:
		e.Message += fmt.Sprintf("; %s serves nothing yet", s.Service)
	}
	return &e
}
