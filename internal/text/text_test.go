package text

import (
	"testing"
)

func TestRoughly(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 5 << 20: "5.0 MiB", 1 << 39: "512.0 GiB", 1<<40 + 1<<39: "1.5 TiB", 1 << 50: "1024.0 TiB"} {
		if got := Bytes(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

// R21: a size is read back from how it is written, and a disk may be larger than some GiB.
func TestR21Sizes(t *testing.T) {
	for s, want := range map[string]ByteSize{"1TiB": 1 << 40, "5 TiB": 5 << 40, "2TB": 2e12, "1024GiB": 1 << 40, "1PiB": -1, "8388608TiB": -1} {
		if got, ok := ParseSize(s); ok != (want >= 0) || ok && got != want {
			t.Errorf("%s: %d, %v", s, got, ok)
		}
	}
	for n, want := range map[ByteSize]string{0: "0", 1 << 40: "1TiB", 1536 << 30: "1536GiB", 2e12: "1953125000KiB"} {
		if back, ok := ParseSize(n.String()); n.String() != want || !ok || back != n {
			t.Errorf("%d: %q, read back as %d, %v", n, n, back, ok)
		}
	}
}

func TestDialable(t *testing.T) {
	for addr, want := range map[string]string{
		"127.0.0.1:8080": "127.0.0.1:8080",
		"0.0.0.0:8080":   "127.0.0.1:8080",
		"[::]:8080":      "127.0.0.1:8080",
		"[::1]:8080":     "[::1]:8080",
	} {
		if got := Dialable(addr); got != want {
			t.Errorf("%s: got %s, want %s", addr, got, want)
		}
	}
}

func TestUnprintable(t *testing.T) {
	for _, s := range []string{"", "a/b c", "\a\b\f\n\r\t\v\x00\x1b[31m\x7f", "\u0085\u00a0\u202e\u2028\ufeff", "👩\u200d👧", "\U000e0001", `\`, `\\`, `'"`, "\xff"} {
		if got := Unprintable(Printable(s)); got != s && s != "\xff" {
			t.Errorf("%q became %q", s, got)
		}
	}
	for _, s := range []string{`\`, `\u0041`, `\101`, `\x41`, `\u20`, `\"`, `\'`, `\u000a`, "\xff"} {
		if got := Unprintable(s); got != s {
			t.Errorf("%q became %q, though nothing is printed so", s, got)
		}
	}
}
