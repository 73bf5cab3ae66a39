package proxy

import (
	"net"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
)

// EngineOptions configure an [Engine].
type EngineOptions struct {
	// Store keeps the state. Required.
	Store Store
	// Certifier gets certificates. Default: deployments that need some are refused.
	Certifier Certifier
	// Handlers makes what requests pass on their way to a target. Default: none, until
	// [Engine.SetHandlers] brings it.
	Handlers Handlers
	// Refuse returns why a deploy would be of no use, such as an [api.Error] for a host that
	// something else answers for. Default: nothing is refused.
	Refuse func(api.Spec) error
	// BeforeSwitch returns the URL that is asked before every switch, which may be empty.
	// Default: nobody is asked.
	BeforeSwitch func() string
	// Followers are told of all changes. Default: there are none.
	Followers Followers
	// Logger receives what operators should know. Default: nothing is logged.
	Logger *zap.Logger
	// UserAgent is what probes say they are. Default: "parachute".
	UserAgent string
	// Resolver looks up the names of targets. Default: the system's.
	Resolver *net.Resolver
}

func (o EngineOptions) withDefaults() EngineOptions {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.UserAgent == "" {
		o.UserAgent = "parachute"
	}
	return o
}
