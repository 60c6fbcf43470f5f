package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strconv"

	"github.com/akubra/akubra/http1"
)

// answerHead is the head of a backend's answer. raw is a copy of it in the leg's
// own memory, status line and blank line included.
type answerHead struct {
	raw           []byte
	status        int
	http10        bool
	contentLength int64 // -1 if there is none
	chunked       bool
	close         bool // the backend closes the connection after it
	names         int  // in Connection
	nominates     bool // Connection names fields (RFC 9110 §7.6.1)
	changes       bool // it cannot go on to a client as it is: see appendAnswerHead
	etag          span // of the first ETag field's value
}

// span is a part of raw, which moves.
type span struct{ from, to int32 }

var errBadAnswer = errors.New("malformed answer")

// headEnd returns the length of the head at the front of b, blank line included,
// or 0 if it is not complete.
//
// Line ends of LF alone are out of date, but not rare (RFC 9112 §2.2).
func headEnd(b []byte) int {
	for at := 0; ; {
		i := bytes.IndexByte(b[at:], '\n')
		if i < 0 {
			return 0
		}
		at += i + 1
		switch rest := b[at:]; {
		case bytes.HasPrefix(rest, []byte("\n")):
			return at + 1
		case bytes.HasPrefix(rest, []byte("\r\n")):
			return at + 2
		}
	}
}

// parse reads what the proxy needs out of raw, a complete head (RFC 9112 §4). It
// refuses what could not be sent on: such an answer must not be picked.
func (a *answerHead) parse(raw []byte) error {
	*a = answerHead{raw: raw, contentLength: -1}
	line, rest := cutLine(raw)
	// HTTP/1.x SP 3DIGIT [SP reason]
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) || line[7] < '0' || line[7] > '9' || line[8] != ' ' ||
		(len(line) > 12 && line[12] != ' ') || !isFieldValue(line) {
		return errBadAnswer
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil || status < 100 || status > 599 {
		return errBadAnswer
	}
	a.status = status
	a.http10 = line[7] == '0'
	a.close = a.http10
	a.changes = line[7] != '1' || !endsCRLF(raw, rest)
	for {
		line, rest = cutLine(rest)
		a.changes = a.changes || !endsCRLF(raw, rest)
		if len(line) == 0 {
			break
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || !isToken(name) || !isFieldValue(value) {
			return errBadAnswer
		}
		if err := a.note(name, trimSpace(value)); err != nil {
			return err
		}
	}
	if a.chunked {
		a.contentLength = -1
	}
	a.changes = a.changes || a.contentLength >= 0 && status == 204
	return nil
}

// endsCRLF reports whether the line of raw that rest stands behind ends with CR LF.
func endsCRLF(raw, rest []byte) bool {
	end := len(raw) - len(rest)
	return end >= 2 && raw[end-2] == '\r' && raw[end-1] == '\n'
}

func (a *answerHead) note(name, value []byte) error {
	switch name[0] | 0x20 {
	case 'c', 't', 'e', 'k', 'p', 'u':
	default:
		return nil
	}
	a.changes = a.changes || hopByHopAnswer(name, nil)
	switch {
	case http1.EqualFold(name, "ETag"):
		if a.etag == (span{}) {
			from := cap(a.raw) - cap(value) // both end where their array does
			a.etag = span{int32(from), int32(from + len(value))}
		}
	case http1.EqualFold(name, "Content-Length"):
		n, err := strconv.ParseUint(string(value), 10, 63)
		if err != nil || (a.contentLength >= 0 && a.contentLength != int64(n)) {
			return errBadAnswer
		}
		a.changes = a.changes || a.contentLength >= 0 // one is enough
		a.contentLength = int64(n)
	case http1.EqualFold(name, "Transfer-Encoding"):
		if !http1.EqualFold(value, "chunked") {
			return errBadAnswer
		}
		a.chunked = true
	case http1.EqualFold(name, "Connection"):
		for len(value) > 0 {
			var token []byte
			token, value, _ = bytes.Cut(value, []byte(","))
			token = trimSpace(token)
			if len(token) == 0 {
				continue
			}
			if a.names++; a.names > maxNominees { // they are held against each field
				return errBadAnswer
			}
			switch {
			case http1.EqualFold(token, "close"):
				a.close = true
			case http1.EqualFold(token, "keep-alive"):
				a.close = false
			default:
				a.nominates = true
			}
		}
	}
	return nil
}

func isToken(name []byte) bool {
	for _, b := range name {
		if !isTokenByte(b) {
			return false
		}
	}
	return len(name) > 0
}

// isFieldValue reports whether there are no control bytes in it (RFC 9110 §5.5).
func isFieldValue(value []byte) bool {
	for ; len(value) >= 8 && !anyControl(binary.LittleEndian.Uint64(value)); value = value[8:] { //nolint:revive // that is all
	}
	for _, b := range value {
		if b < ' ' && b != '\t' || b == 0x7f {
			return false
		}
	}
	return true
}

// anyControl reports whether one of eight bytes is less than a space, or DEL: by
// arithmetic on all of them at once (Anderson, "Bit Twiddling Hacks", hasless and
// haszero).
func anyControl(x uint64) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	del := x ^ ones*0x7f
	return ((x-ones*' ')&^x|(del-ones)&^del)&tops != 0
}

// cutLine takes a line off b, without its end.
func cutLine(b []byte) (line, rest []byte) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return b, nil
	}
	line, rest = b[:i], b[i+1:]
	if i > 0 && line[i-1] == '\r' {
		line = line[:i-1]
	}
	return line, rest
}

// bodyless reports whether an answer of this status to method has no body,
// whatever its head says (RFC 9112 §6.3).
func bodyless(method string, status int) bool {
	return method == "HEAD" || status < 200 || status == 204 || status == 304
}

// trimSpace takes spaces and tabs off both ends.
func trimSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// appendAnswerHead appends the head that goes to the client: a's, if that need not
// change and there is nothing to add; else without hop-by-hop fields, second lengths and
// that of a 204, which must have none (RFC 9110 §8.6).
func (e *Engine) appendAnswerHead(dst []byte, a *answerHead, method string) []byte {
	if e.passesOn(a) {
		return append(dst, a.raw...)
	}
	line, rest := cutLine(a.raw)
	dst = append(dst, "HTTP/1.1"...)
	dst = append(dst, line[len("HTTP/1.1"):]...)
	dst = append(dst, "\r\n"...)
	var nominated nominees
	for all := rest; a.nominates; {
		line, all = cutLine(all)
		if len(line) == 0 {
			break
		}
		if name, value, _ := bytes.Cut(line, []byte(":")); http1.EqualFold(name, "Connection") {
			nominated.add(value) // parse has counted them
		}
	}
	var sent uint64
	hasLength := a.chunked || a.status == 204
	for {
		line, rest = cutLine(rest)
		if len(line) == 0 {
			break
		}
		name, _, _ := bytes.Cut(line, []byte(":"))
		if hopByHopAnswer(name, &nominated) {
			continue
		}
		if http1.EqualFold(name, "Content-Length") {
			if hasLength {
				continue
			}
			hasLength = true
		}
		for i := range e.addResponse {
			if http1.EqualFold(name, e.addResponse[i].name) {
				sent |= 1 << i
			}
		}
		dst = append(dst, line...)
		dst = append(dst, "\r\n"...)
	}
	for i := range e.addResponse {
		if sent&(1<<i) == 0 {
			dst = appendField(dst, e.addResponse[i].name, e.addResponse[i].value)
		}
	}
	return append(dst, "\r\n"...)
}

// passesOn reports whether a goes to the client as it is.
func (e *Engine) passesOn(a *answerHead) bool { return !a.changes && len(e.addResponse) == 0 }

// hopByHopAnswer reports whether a field of an answer ends here (RFC 9110 §7.6.1);
// trailers are not passed on, so neither is their announcement.
func hopByHopAnswer(name []byte, nominated *nominees) bool {
	switch name[0] | 0x20 {
	case 'c':
		if http1.EqualFold(name, "Connection") {
			return true
		}
	case 'k', 'p', 't', 'u':
		if http1.EqualFold(name, "Keep-Alive") || http1.EqualFold(name, "Proxy-Connection") || http1.EqualFold(name, "Transfer-Encoding") ||
			http1.EqualFold(name, "Trailer") || http1.EqualFold(name, "TE") || http1.EqualFold(name, "Upgrade") {
			return true
		}
	}
	return nominated != nil && nominated.has(name) && !http1.EqualFold(name, "Content-Length")
}
