package text

import (
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// EscapeControls escapes what a JSON line may contain but some readers take for the end of a line
// or a command to the terminal (R37): DEL, the eight-bit control characters, U+2028 and U+2029, and
// format characters, which are not seen and may reverse what follows. JSON escapes all others
// already, and these occur only within strings. It returns line itself if there are none.
func EscapeControls(line []byte) []byte {
	var out []byte
	done := 0 // line[:done] is in out
	for i := 0; i < len(line); {
		if line[i] < 0x7f {
			i++
			continue
		}
		c, size := utf8.DecodeRune(line[i:])
		if c > 0x9f && c != '\u2028' && c != '\u2029' && !unicode.Is(unicode.Cf, c) {
			i += size
			continue
		}
		const hex = "0123456789abcdef"
		out = append(out, line[done:i]...)
		for _, u := range utf16.Encode([]rune{c}) {
			out = append(out, '\\', 'u', hex[u>>12&15], hex[u>>8&15], hex[u>>4&15], hex[u&15])
		}
		i += size
		done = i
	}
	if out == nil {
		return line
	}
	return append(out, line[done:]...)
}
