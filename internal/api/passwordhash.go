package api

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Bounds of hashes of passwords. Anyone can have a proxy compute one, by a wrong password.
const (
	minBcryptCost    = 4
	maxBcryptCost    = 14
	maxArgon2Memory  = 256 << 10 // KiB
	maxArgon2Time    = 10
	maxArgon2Threads = 16
	maxPasswordHash  = 512 // bytes
)

var (
	bcryptForm   = regexp.MustCompile(`^\$2[aby]?\$(\d\d)\$[./A-Za-z0-9]{53}$`)
	argon2idForm = regexp.MustCompile(`^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+$`)
)

var errNoHash = errors.New("no hash by bcrypt or argon2id")

// IsPasswordHash reports whether s has the form of a hash of a password by bcrypt or argon2id.
func IsPasswordHash(s string) bool { return bcryptForm.MatchString(s) || argon2idForm.MatchString(s) }

// HashAlgorithm returns bcrypt or argon2id, by which a hash was made.
func HashAlgorithm(hash string) string {
	if strings.HasPrefix(hash, "$argon2id$") {
		return "argon2id"
	}
	return "bcrypt"
}

// CheckPasswordHash returns nil if s is the hash of a password, by bcrypt with a cost from 4 to
// 14, or by argon2id with at most 256 MiB of memory, 10 iterations and 16 threads. Its errors
// say what s is instead, and nothing of s, which may be a password.
func CheckPasswordHash(s string) error {
	between := func(text string, low, high int) bool {
		n, err := strconv.Atoi(text)
		return err == nil && low <= n && n <= high
	}
	if found := bcryptForm.FindStringSubmatch(s); found != nil {
		if !between(found[1], minBcryptCost, maxBcryptCost) {
			return fmt.Errorf("a hash by bcrypt whose cost is not from %d to %d", minBcryptCost, maxBcryptCost)
		}
		return nil
	}
	found := argon2idForm.FindStringSubmatch(s)
	switch {
	case found == nil || len(s) > maxPasswordHash:
		return errNoHash
	case !between(found[1], 1, maxArgon2Memory):
		return fmt.Errorf("a hash by argon2id whose memory (m) is not from 1 to %d KiB", maxArgon2Memory)
	case !between(found[2], 1, maxArgon2Time):
		return fmt.Errorf("a hash by argon2id whose iterations (t) are not from 1 to %d", maxArgon2Time)
	case !between(found[3], 1, maxArgon2Threads):
		return fmt.Errorf("a hash by argon2id whose threads (p) are not from 1 to %d", maxArgon2Threads)
	}
	return nil
}
