package text

import (
	"strconv"
	"strings"
	"unicode"
)

// Printable escapes whatever would break a line or affect a terminal.
func Printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

// Unprintable undoes Printable, for text that somebody has copied. What already had a backslash
// before an escape's letters looks the same, so try the text itself first.
func Unprintable(s string) string {
	var b strings.Builder
	for s != "" {
		if r, _, rest, err := strconv.UnquoteChar(s, 0); err == nil && s[0] == '\\' && Printable(string(r)) == s[:len(s)-len(rest)] {
			b.WriteRune(r)
			s = rest
			continue
		}
		b.WriteByte(s[0])
		s = s[1:]
	}
	return b.String()
}
