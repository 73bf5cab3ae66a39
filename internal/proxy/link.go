package proxy

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"
)

// newLinkKey returns a key for links.
func newLinkKey() []byte {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // which never fails
	return key
}

// linkMAC is how many bytes of its code a token has: enough that nobody guesses it within a
// day.
const linkMAC = 16

// signLink returns a token that opens a service until a time.
func signLink(key []byte, service string, until time.Time) string {
	token := binary.BigEndian.AppendUint64(nil, uint64(until.Unix()))
	mac := hmac.New(sha256.New, key)
	mac.Write(token)
	mac.Write([]byte(service))
	return base64.RawURLEncoding.EncodeToString(append(token, mac.Sum(nil)[:linkMAC]...))
}

// linkValidUntil returns until when a token opens a service; false if it does not, or no more.
func linkValidUntil(key []byte, service, token string) (time.Time, bool) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) != 8+linkMAC {
		return time.Time{}, false
	}
	until := time.Unix(int64(binary.BigEndian.Uint64(b)), 0)
	good := hmac.Equal([]byte(signLink(key, service, until)), []byte(token))
	return until, good && time.Now().Before(until)
}
