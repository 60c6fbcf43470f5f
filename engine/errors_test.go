package engine

import (
	"strings"
	"testing"
)

// R37: what the proxy says of a request does not repeat its secrets.
func TestR37ErrorsNameThePathAlone(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]string{
		"/b/k":                               "/b/k",
		"/b/k?X-Amz-Signature=secret&x":      "/b/k",
		"http://u:secret@s3.test/b/k?x":      "/b/k",
		"http://u:secret@s3.test":            "/",
		"/b/http://s3.test/k?Signature=s":    "/b/http://s3.test/k",
		"*":                                  "*",
		"/b/k%3FX-Amz-Signature=not-a-query": "/b/k%3FX-Amz-Signature=not-a-query",
	} {
		if body := errNoBackend.body("1", target); !strings.Contains(body, "<Resource>"+want+"</Resource>") {
			t.Errorf("%s: %s", target, body)
		}
	}
}
