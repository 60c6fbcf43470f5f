package http1

import (
	"bytes"
	"errors"
	"strconv"
)

// Answer is the head of a backend's response. Raw is all of it, including status line and blank
// line; whoever moves it sets Raw again.
type Answer struct {
	Raw       []byte
	Status    int
	HTTP10    bool
	Length    int64 // -1 if there is none
	Chunked   bool
	Close     bool // the peer closes the connection after this response
	Nominates bool // Connection names fields (RFC 9110 §7.6.1)
	Changes   bool // it cannot be sent to a client unchanged
	OwnETag   bool // the object was encrypted so that its ETag is the backend's own
	names     int  // number of names in Connection
	etag      span // of the first ETag field's value
	version   span // of the same of x-amz-version-id
}

// span is a part of Raw, which may move.
type span struct{ from, to int32 }

// ErrAnswer means that the response must not be passed on.
var ErrAnswer = errors.New("malformed answer")

// HeadEnd returns the length of the head at the beginning of b, including the blank line, or 0 if
// it is incomplete.
//
// Lines that end with LF alone are obsolete but not rare (RFC 9112 §2.2).
func HeadEnd(b []byte) int {
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

// ETag is the value of the first ETag field.
func (a *Answer) ETag() []byte { return a.Raw[a.etag.from:a.etag.to] }

// Parse extracts what the proxy needs from raw, a complete head (RFC 9112 §4). It rejects what
// could not be passed on: such a response must not be picked.
func (a *Answer) Parse(raw []byte) error {
	*a = Answer{Raw: raw, Length: -1}
	line, rest := CutLine(raw)
	// HTTP/1.x SP 3DIGIT [SP reason]
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) || line[7] < '0' || line[7] > '9' || line[8] != ' ' ||
		(len(line) > 12 && line[12] != ' ') || !IsFieldValue(line) {
		return ErrAnswer
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil || status < 100 || status > 599 {
		return ErrAnswer
	}
	a.Status = status
	a.HTTP10 = line[7] == '0'
	a.Close = a.HTTP10
	a.Changes = line[7] != '1' || !endsCRLF(raw, rest)
	for {
		line, rest = CutLine(rest)
		a.Changes = a.Changes || !endsCRLF(raw, rest)
		if len(line) == 0 {
			break
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || !isToken(name) || !IsFieldValue(value) {
			return ErrAnswer
		}
		if err := a.note(name, TrimSpace(value)); err != nil {
			return err
		}
	}
	if a.Chunked {
		a.Length = -1
	}
	a.Changes = a.Changes || a.Length >= 0 && status == 204
	return nil
}

// endsCRLF reports whether the line of raw that precedes rest ends with CR LF.
func endsCRLF(raw, rest []byte) bool {
	end := len(raw) - len(rest)
	return end >= 2 && raw[end-2] == '\r' && raw[end-1] == '\n'
}

// VersionID is the value of the first x-amz-version-id (S3 API reference).
func (a *Answer) VersionID() []byte { return a.Raw[a.version.from:a.version.to] }

// setSpan makes s stand for value, if it stands for nothing yet.
func (a *Answer) setSpan(s *span, value []byte) {
	if *s == (span{}) {
		from := cap(a.Raw) - cap(value) // both end where their array does
		*s = span{int32(from), int32(from + len(value))}
	}
}

func (a *Answer) note(name, value []byte) error {
	switch name[0] | 0x20 {
	case 'c', 't', 'e', 'k', 'p', 'u':
	case 'x':
		switch {
		case EqualFold(name, "X-Amz-Version-Id"):
			a.setSpan(&a.version, value)
		case EqualFold(name, "X-Amz-Server-Side-Encryption"):
			a.OwnETag = a.OwnETag || len(value) >= len("aws:kms") && EqualFold(value[:len("aws:kms")], "aws:kms")
		case EqualFold(name, "X-Amz-Server-Side-Encryption-Customer-Algorithm"):
			a.OwnETag = true
		}
		return nil
	default:
		return nil
	}
	a.Changes = a.Changes || HopByHop(name, nil)
	switch {
	case EqualFold(name, "ETag"):
		a.setSpan(&a.etag, value)
	case EqualFold(name, "Content-Length"):
		n, err := strconv.ParseUint(string(value), 10, 63)
		if err != nil || (a.Length >= 0 && a.Length != int64(n)) {
			return ErrAnswer
		}
		a.Changes = a.Changes || a.Length >= 0 // one Content-Length is enough
		a.Length = int64(n)
	case EqualFold(name, "Transfer-Encoding"):
		if !EqualFold(value, "chunked") {
			return ErrAnswer
		}
		a.Chunked = true
	case EqualFold(name, "Connection"):
		for len(value) > 0 {
			var token []byte
			token, value, _ = bytes.Cut(value, []byte(","))
			token = TrimSpace(token)
			if len(token) == 0 {
				continue
			}
			if a.names++; a.names > MaxNominees { // each field is compared with all of them
				return ErrAnswer
			}
			switch {
			case EqualFold(token, "close"):
				a.Close = true
			case EqualFold(token, "keep-alive"):
				a.Close = false
			default:
				a.Nominates = true
			}
		}
	}
	return nil
}

// Bodyless reports whether a response with this status to method has no body, whatever its head
// says (RFC 9112 §6.3).
func Bodyless(method string, status int) bool {
	return method == "HEAD" || status < 200 || status == 204 || status == 304
}

// HopByHop reports whether a field of a response ends at this hop (RFC 9110 §7.6.1). Trailers are
// not passed on, and neither is their announcement.
func HopByHop(name []byte, nominated *Nominees) bool {
	switch name[0] | 0x20 {
	case 'c':
		if EqualFold(name, "Connection") {
			return true
		}
	case 'k', 'p', 't', 'u':
		if EqualFold(name, "Keep-Alive") || EqualFold(name, "Proxy-Connection") || EqualFold(name, "Transfer-Encoding") ||
			EqualFold(name, "Trailer") || EqualFold(name, "TE") || EqualFold(name, "Upgrade") {
			return true
		}
	}
	return nominated != nil && nominated.Has(name) && !EqualFold(name, "Content-Length")
}
