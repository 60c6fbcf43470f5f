package sigv4

import (
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"
)

// The examples of Amazon's own documentation, "Signature Calculations for the
// Authorization Header".
func TestSignatureExamples(t *testing.T) {
	const secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" //nolint:gosec // the example's
	now := time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name, method, path, query, payload string
		header                             http.Header
		want                               string
	}{
		{
			name: "get", method: "GET", path: "/test.txt", payload: Empty,
			header: http.Header{"Range": {"bytes=0-9"}},
			want:   "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
		},
		{
			name: "lifecycle", method: "GET", path: "/", query: "lifecycle=", payload: Empty,
			want: "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
		},
		{
			name: "list", method: "GET", path: "/", query: "max-keys=2&prefix=J", payload: Empty,
			want: "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := New("AKIAIOSFODNN7EXAMPLE", secret, "", "us-east-1")
			for range 2 { // the second time with the key remembered
				header := http.Header{"X-Unsigned": {"x"}, "X-Amz-None": nil}
				maps.Copy(header, c.header)
				s.Sign(header, c.method, "examplebucket.s3.amazonaws.com", c.path, c.query, c.payload, now)
				got := header.Get("Authorization")
				if want := "Signature=" + c.want; len(got) < len(want) || got[len(got)-len(want):] != want {
					t.Errorf("got %s\nwant it to end in %s", got, want)
				}
			}
		})
	}
}

// A path is signed as it is sent, whatever a URL would make of it, and a query with "=" where
// it has none. The signatures are those of a signer that was our own.
func TestSignedAsSent(t *testing.T) {
	for path, want := range map[string]string{
		"/":             "cec63ed2fbf75ff38b398153de90d41411f94f1c621a5ab00ab8102bbc1c069b",
		"/b/k":          "c360a28b5e87eba5e254dedee3efefb3a84233c88ae365328c74af0b5ba4a06e",
		"/b//k/":        "4c5c61436eedf35fed2fe76bdef56376c1fb66650a2ce6b5c9f7096ec001d759",
		"/b/..":         "c24823683dcdfd59c78f780441796935eba037d8e1fe71bd21fcba5417743ca3",
		"/b/../%2E":     "cc428efe9e69c91f0056dcabd1aeeb9a34b4f86c712845fc2ae3fa260af5efd8",
		"/b/%C3%BC~%3F": "40906da511f12ce37759281b697448aeba23bb6e0985375f49605987ce13413f",
		"/b/a%252Fb":    "7d43e761024b22be80905d76b657e13ec221b7d81a7ab3196a70da8e8f6321ec",
	} {
		header := http.Header{}
		New("a", "b", "token", "eu").Sign(header, "PUT", "h:80", path, "acl&a=%2B%20c", Unsigned, time.Unix(1e9, 0))
		if got := header.Get("Authorization"); !strings.HasSuffix(got, "Signature="+want) || header.Get("X-Amz-Security-Token") != "token" {
			t.Errorf("%s is signed %s", path, got)
		}
	}
}
