package packets

import (
	"bytes"
	"net"
	"strings"
	"testing"

	"golang.org/x/net/ipv4"
)

func emptyMessage() ipv4.Message {
	return ipv4.Message{Buffers: [][]byte{make([]byte, 1452)}, OOB: make([]byte, 128)}
}

func message(from *net.UDPAddr, control, packet string) ipv4.Message {
	m := emptyMessage()
	m.Addr, m.NN, m.N = from, copy(m.OOB, control), copy(m.Buffers[0], packet)
	return m
}

func TestPacketsComeOutOfARelayAsTheyWereRead(t *testing.T) {
	for _, m := range []ipv4.Message{
		message(&net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4433}, "control", "packet"),
		message(&net.UDPAddr{IP: net.IPv4(192, 0, 2, 1).To4(), Port: 1}, "", strings.Repeat("x", 1452)),
		message(&net.UDPAddr{IP: net.ParseIP("2001:db8::1"), Port: 65535}, strings.Repeat("c", 128), "p"),
		message(&net.UDPAddr{IP: net.ParseIP("fe80::1"), Port: 443, Zone: "eth0"}, "", "p"),
	} {
		frame, err := appendFrame(nil, &m)
		if err != nil {
			t.Fatal(err)
		}
		if len(frame) > maxFrame {
			t.Errorf("a frame has %d bytes", len(frame))
		}
		got := emptyMessage()
		if err := readFrame(frame, &got); err != nil {
			t.Fatal(err)
		}
		if got.Addr.String() != m.Addr.String() || !bytes.Equal(got.OOB[:got.NN], m.OOB[:m.NN]) || !bytes.Equal(got.Buffers[0][:got.N], m.Buffers[0][:m.N]) {
			t.Errorf("%+v comes out as %+v", m, got)
		}
	}
}

func FuzzFrame(f *testing.F) {
	m := message(&net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4433}, "control", "packet")
	frame, err := appendFrame(nil, &m)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(frame)
	f.Add([]byte{})
	f.Add([]byte{255})
	f.Fuzz(func(t *testing.T, b []byte) {
		got := emptyMessage()
		if readFrame(b, &got) != nil {
			return
		}
		if again, err := appendFrame(nil, &got); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x is read, and written as %x, %v", b, again, err)
		}
	})
}
