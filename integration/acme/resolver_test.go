package acme

import (
	"net"
	"strings"
	"sync"

	"github.com/miekg/dns"
)

// domain is what the hosts of the tests are below.
const domain = "acme.test"

// nowhere is below which no name resolves.
const nowhere = "nowhere.test"

// resolver is the address of the name server that the authorities ask: every name
// is on this machine, but for those below nowhere.
var resolver = sync.OnceValues(func() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &dns.Server{Listener: l, Handler: dns.HandlerFunc(resolve)}
	go func() { _ = server.ActivateAndServe() }()
	return l.Addr().String(), nil
})

func resolve(w dns.ResponseWriter, question *dns.Msg) {
	answer := new(dns.Msg).SetReply(question)
	for _, q := range question.Question {
		switch name := strings.ToLower(q.Name); {
		case strings.HasSuffix(name, nowhere+"."):
			answer.Rcode = dns.RcodeNameError
		case q.Qtype == dns.TypeA:
			answer.Answer = append(answer.Answer, &dns.A{
				Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET},
				A:   net.IPv4(127, 0, 0, 1),
			})
		}
	}
	_ = w.WriteMsg(answer)
}
