package http1

import (
	"bytes"
	"encoding/binary"
)

// EqualFold compares ASCII field names, ignoring case.
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

// AuthorityOf returns the authority of a target in absolute form, which repeats the host (RFC 9112
// §3.2.2), or nil for any other target.
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

// Unhex is the value of a hex digit, or 16 for any other byte.
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

// CutLine cuts the first line off b and returns it without its line end.
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

// CutField cuts the first header line off raw; it forgives nothing (R8). A nil name means the blank
// line. problem says what is wrong, or is "". It does not check the value's bytes; see
// IsFieldValue.
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
	if !isToken(line[:colon]) {
		return nil, nil, nil, nil, "a header name that is not a token"
	}
	return line, line[:colon], TrimSpace(line[colon+1 : len(line)-2]), rest, ""
}

// TrimSpace removes spaces and tabs from both ends.
func TrimSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// tokenBytes is tchar of RFC 9110 §5.6.2.
var tokenBytes = func() (t [256]bool) {
	for _, b := range []byte("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		t[b] = true
	}
	return t
}()

// isToken reports whether name may be a field's name (RFC 9110 §5.6.2).
func isToken(name []byte) bool {
	for _, b := range name {
		if !tokenBytes[b] {
			return false
		}
	}
	return len(name) > 0
}

// IsFieldValue reports whether value contains no control bytes (RFC 9110 §5.5).
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

// anyControl reports whether one of eight bytes is less than a space, or is DEL, using
// arithmetic on all of them at once (Anderson, "Bit Twiddling Hacks", hasless and
// haszero).
func anyControl(x uint64) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	del := x ^ ones*0x7f
	return ((x-ones*' ')&^x|(del-ones)&^del)&tops != 0
}

// Field returns the value of the first field with this name in a head, or nil.
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
