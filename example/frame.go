package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// maxMessage bounds the payload of a WebSocket message, in bytes.
const maxMessage = 1 << 20

// Opcodes of RFC 6455, section 5.2.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA
)

// frame is a WebSocket frame, unmasked.
type frame struct {
	fin     bool
	opcode  byte
	payload []byte
}

// closeCode is the reason to close a WebSocket, and the error that says so;
// 0 stands for a close frame without a code.
type closeCode uint16

func (c closeCode) Error() string {
	return fmt.Sprintf("WebSocket closed with code %d", uint16(c))
}

func (c closeCode) payload() []byte {
	if c == 0 {
		return nil
	}
	return binary.BigEndian.AppendUint16(nil, uint16(c))
}

// readFrame reads a frame from a client, whose frames are always masked. A
// frame that breaks the protocol or has more than limit bytes is a closeCode.
func readFrame(in *bufio.Reader, limit int) (frame, error) {
	var head [2]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return frame{}, err
	}
	f := frame{fin: head[0]&0x80 != 0, opcode: head[0] & 0x0F}
	reserved, masked := head[0]&0x70 != 0, head[1]&0x80 != 0
	length, control := uint64(head[1]&0x7F), f.opcode >= opClose
	unknown := f.opcode > opBinary && f.opcode < opClose || f.opcode > opPong
	if reserved || !masked || unknown || control && (!f.fin || length > 125) {
		return frame{}, closeCode(closeProtocolError)
	}

	switch length {
	case 126:
		var n [2]byte
		if _, err := io.ReadFull(in, n[:]); err != nil {
			return frame{}, err
		}
		length = uint64(binary.BigEndian.Uint16(n[:]))
	case 127:
		var n [8]byte
		if _, err := io.ReadFull(in, n[:]); err != nil {
			return frame{}, err
		}
		length = binary.BigEndian.Uint64(n[:])
	}
	if !control && length > uint64(limit) {
		return frame{}, closeCode(closeTooBig)
	}

	var mask [4]byte
	if _, err := io.ReadFull(in, mask[:]); err != nil {
		return frame{}, err
	}
	f.payload = make([]byte, length)
	if _, err := io.ReadFull(in, f.payload); err != nil {
		return frame{}, err
	}
	for i := range f.payload {
		f.payload[i] ^= mask[i%4]
	}
	return f, nil
}

// encode returns the frame as a server sends it, unmasked.
func (f frame) encode() []byte {
	var b []byte
	first := f.opcode
	if f.fin {
		first |= 0x80
	}
	switch n := len(f.payload); {
	case n <= 125:
		b = append(b, first, byte(n))
	case n <= 0xFFFF:
		b = append(b, first, 126)
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b = append(b, first, 127)
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return append(b, f.payload...)
}
