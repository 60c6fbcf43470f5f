package s3

import (
	"net/url"
	"strings"
)

const upperHex = "0123456789ABCDEF"

// Escape spells a key in a path the way signatures do: everything but unreserved bytes and slashes
// in upper-case hex. Dots stay dots, even where cleaning the path would remove them: a path that is
// not sent as signed is refused.
func Escape(key string) string { return escape(key, true) }

// EscapeQuery spells a name or a value in a query the way signatures do.
func EscapeQuery(s string) string { return escape(s, false) }

func escape(s string, slash bool) string {
	n := 0
	for i := range len(s) {
		if !unreserved(s[i], slash) {
			n++
		}
	}
	if n == 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 2*n)
	for i := range len(s) {
		if c := s[i]; unreserved(c, slash) {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(upperHex[c>>4])
			b.WriteByte(upperHex[c&15])
		}
	}
	return b.String()
}

func unreserved(c byte, slash bool) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~' || slash && c == '/'
}

// Unescape decodes percent-encoding if it is valid, and otherwise returns the text unchanged.
func Unescape(b []byte) string { return unescape(b, url.PathUnescape) }

// unescapeQuery is Unescape with + decoded as a space.
func unescapeQuery(b []byte) string { return unescape(b, url.QueryUnescape) }

func unescape(b []byte, decode func(string) (string, error)) string {
	s := string(b)
	if strings.ContainsAny(s, "%+") {
		if d, err := decode(s); err == nil {
			return d
		}
	}
	return s
}
