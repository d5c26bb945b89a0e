// A small server on miekg/dns, as a careful author would write it: the records made once, a message built and packed
// for each query.
//
//	miekg ADDRESS:PORT ZONEFILE
package main

import (
	"log"
	"os"
	"strings"

	"github.com/miekg/dns"
)

const apex = "minidisc."

type set struct {
	answer, extra []dns.RR
}

type key struct {
	name  string
	qtype uint16
}

func read(path string) (map[key]set, map[string]bool, dns.RR) {
	file, err := os.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	sets, names := map[key]set{}, map[string]bool{}
	var soa dns.RR
	parser := dns.NewZoneParser(file, apex, path)
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		k := key{strings.ToLower(rr.Header().Name), rr.Header().Rrtype}
		s := sets[k]
		s.answer = append(s.answer, rr)
		sets[k], names[k.name] = s, true
		if rr.Header().Rrtype == dns.TypeSOA {
			soa = rr
		}
	}
	if err := parser.Err(); err != nil {
		log.Fatal(err)
	}
	for k, s := range sets {
		for _, rr := range s.answer {
			if srv, is := rr.(*dns.SRV); is {
				s.extra = append(s.extra, sets[key{strings.ToLower(srv.Target), dns.TypeA}].answer...)
			}
		}
		sets[k] = s
	}
	return sets, names, soa
}

func main() {
	sets, names, soa := read(os.Args[2])
	handler := func(w dns.ResponseWriter, r *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(r)
		m.Authoritative = true
		question := r.Question[0]
		name := strings.ToLower(question.Name)
		if s, ok := sets[key{name, question.Qtype}]; ok {
			m.Answer, m.Extra = s.answer, append(m.Extra, s.extra...)
		} else {
			m.Ns = []dns.RR{soa}
			if !names[name] {
				m.Rcode = dns.RcodeNameError
			}
		}
		if opt := r.IsEdns0(); opt != nil {
			m.SetEdns0(1232, opt.Do())
		}
		if err := w.WriteMsg(m); err != nil {
			log.Print(err)
		}
	}
	dns.HandleFunc(apex, handler)
	log.Fatal((&dns.Server{Addr: os.Args[1], Net: "udp"}).ListenAndServe())
}
