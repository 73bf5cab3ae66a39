package packets

import (
	"bytes"
	"crypto/rand"
	mathrand "math/rand/v2"
	"testing"
	"time"
)

func newKey(t testing.TB) (k Key) {
	t.Helper()
	if _, err := rand.Read(k[:]); err != nil {
		t.Fatal(err)
	}
	return k
}

func TestIDsAreKnownToWhoHasTheKey(t *testing.T) {
	key := newKey(t)
	old, next, stranger := NewIssuer(key, 7), NewIssuer(key, 8), NewIssuer(newKey(t), 9)
	seen := make(map[ID]bool)
	strangers := 0
	for range 10_000 {
		id, err := old.New()
		if err != nil {
			t.Fatal(err)
		}
		if id[0] != 7 || !next.Issued(id[:]) {
			t.Fatalf("%x is not known", id)
		}
		if seen[id] {
			t.Fatalf("%x has been issued twice", id)
		}
		seen[id] = true
		if stranger.Issued(id[:]) {
			strangers++
		}
	}
	if strangers > 5 { // of 10,000, where 0.15 are expected
		t.Errorf("%d ids are known to who does not have the key", strangers)
	}
}

// What clients make up is taken for an id of an older process in one case of 65,536, whatever the
// epoch in it.
func TestIDsThatClientsMakeUpAreNotTakenForOurs(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := mathrand.New(mathrand.NewPCG(seed, 0))
	issuer := NewIssuer(newKey(t), 2)
	const tries = 1 << 20 // of which 16 are expected
	taken := 0
	for range tries {
		var id ID
		for i := range id {
			id[i] = byte(random.Uint32())
		}
		id[0] = 1
		if issuer.Issued(id[:]) {
			taken++
		}
	}
	t.Logf("%d of %d were taken for ours", taken, tries)
	if taken > 60 { // eleven standard deviations
		t.Errorf("%d of %d ids were taken for ours", taken, tries)
	}
}

func TestPacketsAreForTheIDInThem(t *testing.T) {
	id := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	long := func(first byte, length byte) []byte { return append([]byte{first, 0, 0, 0, 1, length}, id...) }
	for _, tt := range []struct {
		what   string
		packet []byte
		want   []byte
	}{
		{"short header", append([]byte{0x40}, append(id, 9, 9)...), id},
		{"short header and nothing else", append([]byte{0x40}, id...), id},
		{"short header, cut off", []byte{0x40, 1, 2, 3, 4, 5, 6, 7}, nil},
		{"Initial", append(long(0xc0, 8), 0, 0), id},
		{"0-RTT", long(0xd0, 8), id},
		{"Handshake", long(0xe0, 8), id},
		{"another version of QUIC", append([]byte{0x80, 0xff, 1, 2, 3, 8}, id...), id},
		{"an id that is longer", append(long(0xc0, 9), 9), nil},
		{"an id that is shorter", long(0xc0, 7), nil},
		{"an id that is cut off", long(0xc0, 8)[:13], nil},
		{"a head that is cut off", []byte{0xc0, 0, 0, 0, 1}, nil},
		{"nothing", nil, nil},
	} {
		if got := Destination(tt.packet); !bytes.Equal(got, tt.want) {
			t.Errorf("%s: the id is %x, want %x", tt.what, got, tt.want)
		}
	}
}

func FuzzPacketOfAnOlderProcess(f *testing.F) {
	key := Key{1, 2, 3}
	old, issuer := NewIssuer(key, 1), NewIssuer(key, 2)
	id, err := old.New()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append([]byte{0x40}, id[:]...))
	f.Add(append([]byte{0xc0, 0, 0, 0, 1, 8}, id[:]...))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, packet []byte) {
		got := Destination(packet)
		if got == nil {
			return
		}
		if len(got) != IDLen || !bytes.Contains(packet, got) {
			t.Fatalf("%x is for %x", packet, got)
		}
		if !issuer.Issued(got) {
			return
		}
		// Any bit that is another one makes it another id, but by chance: of all 64, few can be.
		proven := 0
		for bit := range 8 * IDLen {
			other := bytes.Clone(got)
			other[bit/8] ^= 1 << (bit % 8)
			if issuer.Issued(other) {
				proven++
			}
		}
		if proven > 4 {
			t.Errorf("%d ids that differ in a bit are ours, too", proven)
		}
	})
}
