package handlers

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"runtime"
	"sync"
	"time"
)

// passwords are those of the whole process. What was found out of them lives through deploys and
// reloads.
var passwords = newPasswordChecks(max(runtime.GOMAXPROCS(0)/2, 1), 10*time.Second)

// Bounds of what passwordChecks keeps.
const (
	maxRightPasswords      = 10000
	maxWrongPasswords      = 1000
	maxPasswordsWaiting    = 1000
	maxPasswordsOfAClient  = 32
	bitsOfANetworkOverIPv6 = 64
)

// passwordChecks bounds the checks of passwords. Each takes a tenth of a second or more of a
// processor, and strangers can ask for as many as they like. So only a few are made at once, one of
// each client, and clients take turns: one that guesses passwords delays nobody but itself for
// longer than a check.
type passwordChecks struct {
	// secret makes the keys of known. So no password is kept.
	secret [32]byte
	// patience is how long a check may wait for its turn.
	patience time.Duration
	// running has an element for each check that is being made.
	running chan struct{}

	// mu guards what follows.
	mu sync.Mutex
	// right and wrong are passwords that were checked. They are apart, so that no number of
	// guesses makes the right ones be forgotten.
	right, wrong map[passwordKey]struct{}
	// clients are those whose passwords are checked or wait for that, and waiting is how many.
	clients map[string]*passwordTurn
	waiting int
}

// passwordKey stands for a name, the hash of its account, and a password.
type passwordKey [sha256.Size]byte

// passwordTurn is the turn of a client.
type passwordTurn struct {
	// taken has an element while a password of the client has the turn.
	taken chan struct{}
	// waiting counts the passwords of the client, the one with the turn included.
	waiting int
}

func newPasswordChecks(atOnce int, patience time.Duration) *passwordChecks {
	c := &passwordChecks{
		patience: patience,
		running:  make(chan struct{}, atOnce),
		right:    make(map[passwordKey]struct{}),
		wrong:    make(map[passwordKey]struct{}),
		clients:  make(map[string]*passwordTurn),
	}
	_, _ = rand.Read(c.secret[:]) // which never fails
	return c
}

// check reports whether a password is that of a hash, by compare, unless that is known. name is
// whom the client says it is: a name without an account is checked as well, and must take as long as
// one with an account. done is false if the client has left, or its turn did not come in time.
func (c *passwordChecks) check(ctx context.Context, client, name string, hash, password []byte, compare func(hash, password []byte) (bool, error)) (same, done bool, err error) {
	key := c.keyOf(name, hash, password)
	if same, known := c.known(key); known {
		return same, true, nil
	}
	end, ok := c.begin(ctx, client)
	if !ok {
		return false, false, nil
	}
	defer end()
	if same, known := c.known(key); known { // another request had the same one
		return same, true, nil
	}
	same, err = compare(hash, password)
	if err == nil {
		c.remember(key, same)
	}
	return same, true, err
}

func (c *passwordChecks) keyOf(name string, hash, password []byte) (key passwordKey) {
	mac := hmac.New(sha256.New, c.secret[:])
	for _, part := range [][]byte{[]byte(name), hash, password} {
		mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		mac.Write(part)
	}
	mac.Sum(key[:0])
	return key
}

func (c *passwordChecks) known(key passwordKey) (same, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, same = c.right[key]; same {
		return true, true
	}
	_, known = c.wrong[key]
	return false, known
}

func (c *passwordChecks) remember(key passwordKey, same bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	keys, most := c.wrong, maxWrongPasswords
	if same {
		keys, most = c.right, maxRightPasswords
	}
	if len(keys) >= most {
		for any := range keys {
			delete(keys, any)
			break
		}
	}
	keys[key] = struct{}{}
}

// begin waits for the turn of a client, and for one of the checks at once. It returns false if
// that did not come, and otherwise what ends the check.
func (c *passwordChecks) begin(ctx context.Context, client string) (end func(), ok bool) {
	turn := c.join(client)
	if turn == nil {
		return nil, false
	}
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	if !take(ctx, turn.taken) {
		c.leave(client, turn)
		return nil, false
	}
	if !take(ctx, c.running) {
		<-turn.taken
		c.leave(client, turn)
		return nil, false
	}
	return func() {
		<-c.running
		<-turn.taken
		c.leave(client, turn)
	}, true
}

// take reports whether there was room for an element before ctx has ended. Who came first is
// served first.
func take(ctx context.Context, room chan<- struct{}) bool {
	if ctx.Err() != nil {
		return false
	}
	select {
	case room <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// join counts a password of a client. It returns nil if too many wait. One of a client of which none
// waits finds room unless very many other clients wait: no few clients can take it all.
func (c *passwordChecks) join(client string) *passwordTurn {
	c.mu.Lock()
	defer c.mu.Unlock()
	turn := c.clients[client]
	full := len(c.clients) >= maxPasswordsWaiting
	if turn != nil {
		full = c.waiting >= maxPasswordsWaiting || turn.waiting >= maxPasswordsOfAClient
	}
	if full {
		return nil
	}
	if turn == nil {
		turn = &passwordTurn{taken: make(chan struct{}, 1)}
		c.clients[client] = turn
	}
	turn.waiting++
	c.waiting++
	return turn
}

func (c *passwordChecks) leave(client string, turn *passwordTurn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting--
	if turn.waiting--; turn.waiting == 0 {
		delete(c.clients, client)
	}
}

// passwordClient returns what a client is known by: its address, or its network over IPv6, where one
// has many addresses.
func passwordClient(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	if a = a.Unmap().WithZone(""); a.Is6() {
		network, err := a.Prefix(bitsOfANetworkOverIPv6)
		if err == nil {
			return network.String()
		}
	}
	return a.String()
}
