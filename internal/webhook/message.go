package webhook

import (
	"encoding/json"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// typePrefix is before the kind of an event in the type of a CloudEvent.
const typePrefix = "dev.parachute."

// message is an event as a CloudEvent (CloudEvents 1.0, section 3.1), in its JSON form.
type message struct {
	SpecVersion     string    `json:"specversion"`
	ID              string    `json:"id"`
	Source          string    `json:"source"`
	Type            string    `json:"type"`
	Subject         string    `json:"subject,omitempty"`
	Time            time.Time `json:"time"`
	DataContentType string    `json:"datacontenttype"`
	Data            api.Event `json:"data"`
}

// encode returns the message for an event of a proxy that is called source.
func encode(source string, ev api.FeedEvent) ([]byte, error) {
	return json.Marshal(message{
		SpecVersion: "1.0", ID: ev.ID, Source: source, Type: typeOf(ev.Data.Kind), Subject: ev.Data.Service,
		Time: ev.Data.Time, DataContentType: "application/json", Data: ev.Data,
	})
}

// typeOf returns the type of an event, such as "dev.parachute.deployment.switched.v1".
func typeOf(kind api.EventKind) string {
	about := "deployment"
	switch kind {
	case api.EventRemoved, api.EventHeld, api.EventResumed:
		about = "service"
	case api.EventHealthChanged:
		about = "target"
	case api.EventUpgrading, api.EventUpgraded, api.EventUpgradeFailed, api.EventTakenBack, api.EventProcessEnded:
		about = "proxy"
	}
	return typePrefix + about + "." + string(kind) + ".v1"
}
