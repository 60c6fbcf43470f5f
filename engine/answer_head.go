package engine

import (
	"bytes"

	"github.com/akubra/akubra/http1"
)

// appendAnswerHead appends the head that goes to the client: a's own if nothing has to be changed
// or added; else without hop-by-hop fields, repeated lengths, and the length of a 204, which must
// have none (RFC 9110 §8.6).
func (g *generation) appendAnswerHead(dst []byte, a *http1.Answer) []byte {
	if g.passesOn(a) {
		return append(dst, a.Raw...)
	}
	line, rest := http1.CutLine(a.Raw)
	dst = append(dst, "HTTP/1.1"...)
	dst = append(dst, line[len("HTTP/1.1"):]...)
	dst = append(dst, "\r\n"...)
	var nominated http1.Nominees
	for all := rest; a.Nominates; {
		line, all = http1.CutLine(all)
		if len(line) == 0 {
			break
		}
		if name, value, _ := bytes.Cut(line, []byte(":")); http1.EqualFold(name, "Connection") {
			nominated.Add(value) // parse has counted them
		}
	}
	var sent uint64
	hasLength := a.Chunked || a.Status == 204
	for {
		line, rest = http1.CutLine(rest)
		if len(line) == 0 {
			break
		}
		name, _, _ := bytes.Cut(line, []byte(":"))
		if http1.HopByHop(name, &nominated) {
			continue
		}
		if http1.EqualFold(name, "Content-Length") {
			if hasLength {
				continue
			}
			hasLength = true
		}
		for i := range g.addResponse {
			if http1.EqualFold(name, g.addResponse[i].name) {
				sent |= 1 << i
			}
		}
		dst = append(dst, line...)
		dst = append(dst, "\r\n"...)
	}
	for i := range g.addResponse {
		if sent&(1<<i) == 0 {
			dst = appendField(dst, g.addResponse[i].name, g.addResponse[i].value)
		}
	}
	return append(dst, "\r\n"...)
}

// passesOn reports whether a goes to the client unchanged.
func (g *generation) passesOn(a *http1.Answer) bool { return !a.Changes && len(g.addResponse) == 0 }
