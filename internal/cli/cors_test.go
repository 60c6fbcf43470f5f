package cli

import (
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/akubra/akubra/internal/testkit"
)

// TestCORS sends what a browser sends before and with a PUT from another origin to a proxy with the
// headers of docs/CONFIGURATION.md. One backend refuses preflights; the other one answers them, but
// says nothing of origins.
func TestCORS(t *testing.T) {
	t.Parallel()
	_, section, _ := strings.Cut(testkit.MustReadFile(t, "../../docs/CONFIGURATION.md"), "## CORS for browsers")
	example := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(section)
	if example == nil {
		t.Fatal("docs/CONFIGURATION.md has no example")
	}
	backend := func(preflight int) string {
		return testkit.NewBackend(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			if r.Method == http.MethodOptions {
				w.WriteHeader(preflight)
				return
			}
			w.Header().Set("ETag", `"e"`)
		})
	}
	first, second := backend(http.StatusForbidden), backend(http.StatusNoContent)
	path := writeServeConfig(t, first, regexp.MustCompile(`(?m)^ {3}`).ReplaceAllString(example[1], ""))
	text := strings.Replace(testkit.MustReadFile(t, path), `Backends: ["`, `Backends: ["`+second+`", "`, 1)
	testkit.MustDo(t, os.WriteFile(path, []byte(text), 0o600))
	p := mustStart(t, "-c", path)
	defer func() {
		p.signals <- syscall.SIGTERM
		p.wantExit(t, exitOK)
	}()
	const origin = "https://app.example.com"
	send := func(method string, headers ...string) *http.Response {
		t.Helper()
		req, err := http.NewRequest(method, "http://"+p.Addr()+"/web/key", strings.NewReader(""))
		testkit.MustDo(t, err)
		req.Close = true
		req.Header.Set("Origin", origin)
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		testkit.MustDo(t, err)
		_ = resp.Body.Close()
		if resp.StatusCode/100 != 2 || resp.Header.Get("Access-Control-Allow-Origin") != origin {
			t.Errorf("%s is answered with %s for the origin %q", method, resp.Status, resp.Header.Get("Access-Control-Allow-Origin"))
		}
		return resp
	}
	// has looks for a word in a list, as a browser does (Fetch standard, 4.8).
	has := func(resp *http.Response, header, word string) {
		t.Helper()
		for _, name := range strings.Split(resp.Header.Get(header), ",") {
			if strings.EqualFold(strings.TrimSpace(name), word) {
				return
			}
		}
		t.Errorf("%s lacks %s: %q", header, word, resp.Header.Get(header))
	}
	wanted := []string{"authorization", "content-type", "x-amz-content-sha256", "x-amz-date"}
	preflight := send("OPTIONS", "Access-Control-Request-Method", "PUT", "Access-Control-Request-Headers", strings.Join(wanted, ","))
	has(preflight, "Access-Control-Allow-Methods", "PUT")
	for _, name := range wanted {
		has(preflight, "Access-Control-Allow-Headers", name)
	}
	has(send("PUT"), "Access-Control-Expose-Headers", "ETag")
	has(send("GET"), "Access-Control-Expose-Headers", "ETag")
}
