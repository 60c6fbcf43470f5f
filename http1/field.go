package http1

import (
	"bytes"
	"encoding/binary"
)

// EqualFold compares ASCII field names without regard to case.
func EqualFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range len(s) {
		x, y := b[i], s[i]
		if x != y && (x|0x20 != y|0x20 || x|0x20 < 'a' || x|0x20 > 'z') {
			return false
		}
	}
	return true
}

// AuthorityOf returns the authority of a target in its absolute form, which names the
// host once more (RFC 9112 §3.2.2); nil for any other.
func AuthorityOf(target []byte) []byte {
	if len(target) == 0 || target[0] == '/' {
		return nil
	}
	_, rest, ok := bytes.Cut(target, []byte("://"))
	if !ok {
		return nil
	}
	if i := bytes.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	return rest
}

// Unhex is the value of a hex digit, or 16.
func Unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 16
}

// CutLine takes a line off b, without its end.
func CutLine(b []byte) (line, rest []byte) {
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

// CutField takes the first header line off raw, which forgives nothing (R8). A nil name
// stands for the blank line. problem is "" or what is wrong; a value's bytes are not looked
// at, see IsFieldValue.
func CutField(raw []byte) (line, name, value, rest []byte, problem string) {
	i := bytes.IndexByte(raw, '\n')
	if i < 1 || raw[i-1] != '\r' {
		return nil, nil, nil, nil, "a header line that does not end with CR LF"
	}
	line, rest = raw[:i+1], raw[i+1:]
	if i == 1 {
		return line, nil, nil, rest, ""
	}
	if line[0] == ' ' || line[0] == '\t' {
		return nil, nil, nil, nil, "a folded header line"
	}
	colon := bytes.IndexByte(line, ':')
	if colon < 1 {
		return nil, nil, nil, nil, "a header line without a name"
	}
	if !IsToken(line[:colon]) {
		return nil, nil, nil, nil, "a header name that is not a token"
	}
	return line, line[:colon], TrimSpace(line[colon+1 : len(line)-2]), rest, ""
}

// TrimSpace takes spaces and tabs off both ends.
func TrimSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// tokenBytes: tchar of RFC 9110 §5.6.2.
var tokenBytes = func() (t [256]bool) {
	for _, b := range []byte("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		t[b] = true
	}
	return t
}()

// IsToken reports whether it may be a field's name (RFC 9110 §5.6.2).
func IsToken(name []byte) bool {
	for _, b := range name {
		if !tokenBytes[b] {
			return false
		}
	}
	return len(name) > 0
}

// IsFieldValue reports whether there are no control bytes in it (RFC 9110 §5.5).
func IsFieldValue(value []byte) bool {
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

// Field is the value of the first field of a head with this name, or nil.
func Field(raw []byte, name string) []byte {
	_, rest := CutLine(raw)
	for len(rest) > 0 {
		var line []byte
		line, rest = CutLine(rest)
		if n, value, ok := bytes.Cut(line, []byte(":")); ok && EqualFold(n, name) {
			return TrimSpace(value)
		}
	}
	return nil
}
