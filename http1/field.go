package http1

import "bytes"

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
