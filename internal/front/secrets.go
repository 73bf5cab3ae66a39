package front

import (
	"crypto/rand"
	"encoding/json"
	"fmt"

	"github.com/quic-go/quic-go"

	"github.com/parachute-proxy/parachute/internal/packets"
)

// secrets are what all processes that share sockets for QUIC have in common.
type secrets struct {
	// Epoch is the only thing that each of them has for itself: it tells its connections from theirs.
	Epoch byte
	// IDs proves connection ids.
	IDs packets.Key
	// Reset is for packets of connections that nobody has any more: clients learn at once that
	// there is no use in waiting (RFC 9000, section 10.3).
	Reset quic.StatelessResetKey
	// Tokens is for what clients prove their addresses with.
	Tokens quic.TokenGeneratorKey
}

// handedOver is what the next process gets besides the sockets.
type handedOver struct {
	secrets
	// Tickets are missing if the process before did not hand them over.
	Tickets ticketKeys
}

// newSecrets returns those of the first process.
func newSecrets() (*secrets, error) {
	s := new(secrets)
	for _, key := range [][]byte{s.IDs[:], s.Reset[:], s.Tokens[:]} {
		if _, err := rand.Read(key); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// ownSecrets returns those of this process. s.mu must be held.
func (s *sockets) ownSecrets() (*secrets, error) {
	if s.secrets == nil {
		var err error
		if s.secrets, err = newSecrets(); err != nil {
			return nil, err
		}
	}
	return s.secrets, nil
}

// Secrets returns what the next process needs besides the sockets, to be given to Inherit there.
func Secrets() ([]byte, error) { return process.marshalSecrets() }

func (s *sockets) marshalSecrets() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	own, err := s.ownSecrets()
	if err != nil {
		return nil, err
	}
	return json.Marshal(handedOver{*own, s.tickets.handOver()})
}

// inheritSecrets takes over what another process had, whose place this one takes. s.mu must be
// held.
func (s *sockets) inheritSecrets(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	var inherited handedOver
	if err := json.Unmarshal(text, &inherited); err != nil {
		return fmt.Errorf("reading the secrets of the process before: %w", err)
	}
	inherited.Epoch++ // as often as it takes: of 256 processes, all but a few have ended
	s.secrets = &inherited.secrets
	s.tickets.inherit(inherited.Tickets)
	return nil
}
