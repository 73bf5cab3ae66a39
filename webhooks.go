package parachute

import (
	"context"
	"fmt"
	"net/url"
	"os"

	"github.com/parachute-proxy/parachute/internal/version"
	"github.com/parachute-proxy/parachute/internal/webhook"
)

// Webhook is an address that is told of everything that happens to services: CloudEvents
// 1.0, signed as Standard Webhooks 1.0 has it.
type Webhook struct {
	// URL is where messages are posted to, by http or https.
	URL string `json:"url"`
	// SecretFile has the secrets that messages are signed with, each on a line of its own as
	// whsec_ and base64. Several are for the time in which receivers go over to a new one.
	SecretFile string `json:"secret_file"`
}

// validate returns why nothing could be sent to the webhook.
func (h Webhook) validate() error {
	u, err := url.Parse(h.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("webhook %q is not an http or https URL", h.URL)
	}
	if h.SecretFile == "" {
		return fmt.Errorf("webhook %s has no file with the secret that its messages are signed with", h.URL)
	}
	if _, err := webhook.ReadSecrets(h.SecretFile); err != nil {
		return fmt.Errorf("webhook %s: %w", h.URL, err)
	}
	return nil
}

// startWebhooks tells the webhooks of what happens to services, until the returned function
// is called. While a config takes the place of another one, both tell: a receiver knows by
// the id that it has a message already.
func (a *App) startWebhooks() (stop func(), err error) {
	host, _ := os.Hostname()
	ctx, cancel := context.WithCancel(context.Background())
	for _, h := range a.Webhooks {
		reader, err := a.engine.Feed("")
		if err != nil {
			cancel()
			return nil, err
		}
		endpoint := webhook.Endpoint{
			URL: h.URL, SecretFile: h.SecretFile, Source: "/parachute/" + host,
			UserAgent: "parachute/" + version.Version(), Logger: a.logger.Named("webhook"),
		}
		go endpoint.Run(ctx, reader)
	}
	return cancel, nil
}
