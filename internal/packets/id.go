package packets

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
)

// IDLen is the length of connection ids, in bytes. An id is the epoch of the process that has
// issued it, five bytes of chance, and two that prove it: only who has the key can make an id that
// looks as if it was issued.
const IDLen = 8

const (
	randomLen = 5
	proofLen  = IDLen - 1 - randomLen
)

// ID is the id of a connection.
type ID [IDLen]byte

// Key proves ids. All processes that share a socket have the same.
type Key [16]byte

// Issuer makes the ids of a process, and knows those of others with the same key.
type Issuer struct {
	epoch byte
	block cipher.Block
}

// NewIssuer returns an Issuer for a process. Of the processes that share a socket at the same time,
// no two have the same epoch.
func NewIssuer(key Key, epoch byte) *Issuer {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // which is about the length of the key
	}
	return &Issuer{epoch, block}
}

// New returns a new id.
func (i *Issuer) New() (id ID, err error) {
	if _, err := rand.Read(id[1 : 1+randomLen]); err != nil {
		return ID{}, err
	}
	id[0] = i.epoch
	copy(id[1+randomLen:], i.proof(id[:]))
	return id, nil
}

// Issued reports whether an id was issued by a process with the same key, whose epoch is that in the
// id. One of random bytes is taken for such in one case of 65,536.
func (i *Issuer) Issued(id []byte) bool {
	return len(id) == IDLen && subtle.ConstantTimeCompare(i.proof(id), id[1+randomLen:]) == 1
}

// proof returns the proof of an id. One block of a cipher is a message authentication code if all
// messages have the same length.
func (i *Issuer) proof(id []byte) []byte {
	block := make([]byte, aes.BlockSize)
	copy(block, id[:1+randomLen])
	i.block.Encrypt(block, block)
	return block[:proofLen]
}

// longHeader is set in the first byte of a packet with a long header (RFC 8999, section 5.1).
const longHeader = 0x80

// Destination returns the id of the connection that a packet is for, or nil if it has none of our
// length (RFC 8999, section 5, which holds for all versions of QUIC). Until it has heard from us, a
// client uses one that it has made up.
func Destination(packet []byte) []byte {
	if len(packet) == 0 {
		return nil
	}
	id := packet[1:]
	if packet[0]&longHeader != 0 {
		if len(packet) < 6 || packet[5] != IDLen {
			return nil
		}
		id = packet[6:]
	}
	if len(id) < IDLen {
		return nil
	}
	return id[:IDLen:IDLen]
}
