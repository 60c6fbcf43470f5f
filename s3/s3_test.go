package s3

import (
	"net/url"
	"strings"
	"testing"
)

func TestUnquote(t *testing.T) {
	for _, etag := range []string{"", `"`, `""`, `"a"`, `a`, `"a`, `a"`, `""a""`, `W/"a"`, `"a"b"`, `"`} {
		if got, want := Unquote(etag), strings.Trim(etag, `"`); got != want || string(Unquote([]byte(etag))) != want {
			t.Errorf("%s is %q, want %q", etag, got, want)
		}
	}
}

// Unescaping gives back what was escaped, and nothing in it has a special meaning.
func FuzzEscape(f *testing.F) {
	for _, s := range []string{"", "a/b", "a b+c%2F", "\x00\xff", "ü?#&=", "..//", "~_-.*'()", "azAZ09", "/:@[`{"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, escaped := range []string{Escape(s), EscapeQuery(s)} {
			if got, err := url.PathUnescape(escaped); err != nil || got != s || Unescape([]byte(escaped)) != s || unescapeQuery([]byte(escaped)) != s {
				t.Errorf("%q is escaped as %q", s, escaped)
			}
			if strings.ContainsAny(escaped, "?#&=+; ") {
				t.Errorf("%q is escaped as %q", s, escaped)
			}
		}
		if want := strings.ReplaceAll(url.QueryEscape(s), "+", "%20"); EscapeQuery(s) != want {
			t.Errorf("%q is escaped as %q, want %q", s, EscapeQuery(s), want)
		}
	})
}

func TestErrorDocuments(t *testing.T) {
	doc := []byte(ErrorDocument("SlowDown", "a < b", "/k&", "id"))
	if code, message := ParseError(doc); code != "SlowDown" || message != "a < b" || ErrorCode(doc) != code || string(Text(doc, "RequestId")) != "id" {
		t.Errorf("%s is read as %s, %s", doc, code, message)
	}
	for _, c := range [][2]string{
		{"", ""}, {"<html>", ""}, {"<Errors><Code>a</Code></Errors>", ""}, {"<Error/>", "Error"}, {"<Error><Code>a</Code>", "a"},
		{" <?xml version=\"1.0\"?>\n<Error xmlns=\"x\"><Code>a</Code></Error>", "a"}, {"<CopyObjectResult><Code>a</Code></CopyObjectResult>", ""},
	} {
		if got := ErrorCode([]byte(c[0])); got != c[1] {
			t.Errorf("%s has the code %q, want %q", c[0], got, c[1])
		}
	}
}
