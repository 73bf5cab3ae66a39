package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	// secretPrefix is before a secret that is written as text.
	secretPrefix = "whsec_"
	// minSecret and maxSecret are the sizes of secrets that Standard Webhooks asks for, in
	// bytes.
	minSecret, maxSecret = 24, 64
	// maxSecrets is how many secrets are valid at a time: a new one and those that it
	// takes the place of.
	maxSecrets = 4
)

// ReadSecrets returns the secrets in a file, one on each line, as whsec_ and base64. While
// receivers go over to a new one, messages are signed with all of them.
func ReadSecrets(file string) ([][]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	secrets, err := parseSecrets(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return secrets, nil
}

func parseSecrets(text string) (secrets [][]byte, err error) {
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		encoded, ok := strings.CutPrefix(line, secretPrefix)
		if !ok {
			return nil, fmt.Errorf("line %d does not begin with %s", n+1, secretPrefix)
		}
		secret, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return nil, fmt.Errorf("line %d: what is behind %s is not base64", n+1, secretPrefix)
		}
		if len(secret) < minSecret || len(secret) > maxSecret {
			return nil, fmt.Errorf("line %d: the secret has %d bytes; use %d to %d", n+1, len(secret), minSecret, maxSecret)
		}
		secrets = append(secrets, secret)
	}
	switch {
	case len(secrets) == 0:
		return nil, errors.New("there is no secret in it; write whsec_ and 24 to 64 random bytes as base64")
	case len(secrets) > maxSecrets:
		return nil, fmt.Errorf("there are %d secrets in it; at most %d are used at a time", len(secrets), maxSecrets)
	}
	return secrets, nil
}

// sign returns the signatures of a message by all secrets, as in the header
// webhook-signature.
func sign(secrets [][]byte, id string, at time.Time, body []byte) string {
	var all []string
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "."))
		mac.Write(body)
		all = append(all, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(all, " ")
}
