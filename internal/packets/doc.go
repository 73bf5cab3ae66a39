// Package packets has several processes share a UDP socket on which they speak QUIC.
//
// Each packet that arrives is read by one process, the newest. The id of the connection that it
// is for tells which process gave it out ([Issuer]). If that is an older one, the packet goes there
// by a relay: a pair of Unix sockets. Everything else is for the process that has read it.
// All of them send by the shared socket.
//
// A client may use another address for every packet, so addresses tell nothing of who has its
// connection.
//
// The package knows nothing of HTTP, nor of what is in a packet.
package packets
