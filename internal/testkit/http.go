package testkit

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// client keeps no connections open, which would outlive the test, and waits for nobody without end.
var client = &http.Client{Timeout: 2 * Patience, Transport: &http.Transport{DisableKeepAlives: true}}

// Send sends a request and reads the whole response.
func Send(method, url, body string) (status int, answer string, err error) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// MustSend is Send for a request that must be answered with 200.
func MustSend(t testing.TB, method, url, body string) string {
	t.Helper()
	status, answer, err := Send(method, url, body)
	if err != nil || status != http.StatusOK {
		t.Fatalf("%s %s = %d %s, %v", method, url, status, answer, err)
	}
	return answer
}

// NewBackend serves handler until the test ends.
func NewBackend(t testing.TB, handler http.HandlerFunc) (url string) {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s.URL
}

// Hello answers everything with hello.
func Hello(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }
