package s3

import (
	"cmp"
	"slices"
	"strings"
)

const upperHex = "0123456789ABCDEF"

// Path is a bucket's or an object's path, path-style.
func Path(bucket, key string) string {
	path := "/" + escape(bucket)
	if key != "" {
		path += "/" + escape(key)
	}
	return path
}

// escape spells a key in a path as signatures have it: all but unreserved bytes
// and slashes in upper-case hex. Dots stay dots, also where a path would be
// cleaned of them: what is not sent as it is signed is refused.
func escape(s string) string { return escapeBytes(s, true) }

func escapeBytes(s string, slash bool) string {
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

// encodeQuery gives the query as it is sent, and as it is signed.
func encodeQuery(params []Param) (raw, canonical string) {
	if len(params) == 0 {
		return "", ""
	}
	params = slices.Clone(params)
	slices.SortStableFunc(params, func(a, b Param) int {
		return cmp.Compare(escapeBytes(a.Name, false), escapeBytes(b.Name, false))
	})
	var r, c strings.Builder
	for i, p := range params {
		if i > 0 {
			r.WriteByte('&')
			c.WriteByte('&')
		}
		name, value := escapeBytes(p.Name, false), escapeBytes(p.Value, false)
		r.WriteString(name)
		c.WriteString(name + "=" + value)
		if value != "" {
			r.WriteString("=" + value)
		}
	}
	return r.String(), c.String()
}

// EncodeTags spells tags as x-amz-tagging has them.
func EncodeTags(tags []Param) string {
	_, canonical := encodeQuery(tags)
	return canonical
}
