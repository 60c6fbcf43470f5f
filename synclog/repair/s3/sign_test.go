package s3

import (
	"net/http"
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
			name: "get", method: "GET", path: "/test.txt", payload: emptySHA256,
			header: http.Header{"Range": {"bytes=0-9"}},
			want:   "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
		},
		{
			name: "lifecycle", method: "GET", path: "/", query: "lifecycle=", payload: emptySHA256,
			want: "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
		},
		{
			name: "list", method: "GET", path: "/", query: "max-keys=2&prefix=J", payload: emptySHA256,
			want: "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &signer{access: "AKIAIOSFODNN7EXAMPLE", secret: secret, region: "us-east-1"}
			header := c.header
			if header == nil {
				header = http.Header{}
			}
			for range 2 { // the second time with the key remembered
				req := &http.Request{Method: c.method, Host: "examplebucket.s3.amazonaws.com", Header: header}
				s.sign(req, c.path, c.query, c.payload, now)
				got := req.Header.Get("Authorization")
				if want := "Signature=" + c.want; len(got) < len(want) || got[len(got)-len(want):] != want {
					t.Errorf("got %s\nwant it to end in %s", got, want)
				}
			}
		})
	}
}

func TestTrimAll(t *testing.T) {
	for in, want := range map[string]string{"": "", " a ": "a", "a  b   c d": "a b c d", "a\tb": "a\tb"} {
		if got := trimAll(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
