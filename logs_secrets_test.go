package main

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestR37HideSecrets(t *testing.T) {
	for target, want := range map[string]string{
		"":                          "",
		"/b/k":                      "/b/k",
		"/b/k?acl&versionId=v1":     "/b/k?acl&versionId=v1",
		"/b/k?X-Amz-Signature=hush": "/b/k?X-Amz-Signature=***",
		"/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20240305%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20240305T140709Z&X-Amz-Expires=60&X-Amz-Security-Token=hush%2Bhush%3D&X-Amz-SignedHeaders=host&X-Amz-Signature=hush&partNumber=2": "/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20240305%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20240305T140709Z&X-Amz-Expires=60&X-Amz-Security-Token=***&X-Amz-SignedHeaders=host&X-Amz-Signature=***&partNumber=2",
		"/b/k?AWSAccessKeyId=AKID&Expires=1&Signature=hush%3D&x-amz-security-token=hush": "/b/k?AWSAccessKeyId=AKID&Expires=1&Signature=***&x-amz-security-token=***",
		"/b/k?x-amz-SIGNATURE=hush":                          "/b/k?x-amz-SIGNATURE=***",
		"/b/k?X%2DAmz%2dSignature=hush":                      "/b/k?X%2DAmz%2dSignature=***",
		"/b/k?%53%69gnature=hush":                            "/b/k?%53%69gnature=***",
		"/b/k?Signature%3Dhush":                              "/b/k?Signature%3D***",
		"/b/k?Signature=hush&Signature=hush2&Signature=hush": "/b/k?Signature=***&Signature=***&Signature=***",
		"/b/k?acl;Signature=hush":                            "/b/k?acl;Signature=***",
		"/b/k?a=1?Signature=hush":                            "/b/k?a=1?Signature=***",
		"/b/k?a#Signature=hush":                              "/b/k?a#Signature=***",
		"/b/k?Signature=hush;hush?hush#hush&acl":             "/b/k?Signature=***&acl",
		"/b/k?Signature=hush=hush":                           "/b/k?Signature=***",
		"/b/k?&&Signature=hush&&":                            "/b/k?&&Signature=***&&",
		"?Signature=hush":                                    "?Signature=***",
		"/b/k?Signature":                                     "/b/k?Signature",
		"/b/k?Signature=":                                    "/b/k?Signature=",
		"/b/k?Signature=***":                                 "/b/k?Signature=***",
		"/b/k?Signature=%":                                   "/b/k?Signature=***",
		"/b/k?Signatur%e=1":                                  "/b/k?Signatur%e=1",
		"/b/k?MySignature=1&Signature2=1&continuation-token=t&marker=m":                                       "/b/k?MySignature=1&Signature2=1&continuation-token=t&marker=m",
		"/b/Signature=name&X-Amz-Signature=name":                                                              "/b/Signature=name&X-Amz-Signature=name", // an object's name
		"/b/k?x-amz-server-side-encryption-customer-key=hush&x-amz-server-side-encryption-customer-key-MD5=m": "/b/k?x-amz-server-side-encryption-customer-key=***&x-amz-server-side-encryption-customer-key-MD5=m",
		"/b/k?x-amz-copy-source-server-side-encryption-customer-key=hush":                                     "/b/k?x-amz-copy-source-server-side-encryption-customer-key=***",
		"http://s3/b/k?Signature=hush":                                                                        "http://s3/b/k?Signature=***",
		"http://user:hush@s3/b/k?Signature=hush&a":                                                            "http://***@s3/b/k?Signature=***&a",
		"http://s3/b/k@x?a=http://u:p@h":                                                                      "http://s3/b/k@x?a=http://u:p@h",
		"/b/http://u:p@h":                                                                                     "/b/http://u:p@h",
	} {
		if got := hideSecrets(target); got != want {
			t.Errorf("%q: got %q, want %q", target, got, want)
		}
		raw := []byte(target)
		if got := hideSecrets(raw); string(got) != want || string(raw) != target {
			t.Errorf("%q: got %q and left %q", target, got, raw)
		}
		if again := hideSecrets(want); again != want {
			t.Errorf("%q becomes %q", want, again)
		}
	}
	for _, name := range secretParams {
		if len(name) > longestSecretParam || name != strings.ToLower(name) {
			t.Errorf("%q is never found", name)
		}
	}
	plain := []byte("/bucket/key/of/some/length?partNumber=1&uploadId=xyz")
	if n := testing.AllocsPerRun(100, func() { hideSecrets(plain) }); n != 0 {
		t.Errorf("%v allocations where there is nothing to hide", n)
	}
}

// TestR37NoSecretIsKept: of a presigned request nothing is left that could send it
// again: in no log, not in the journal, not on a page; but the backends get it.
func TestR37NoSecretIsKept(t *testing.T) {
	const secret = "0123feedhush"
	got := make(chan string, 100)
	backend := func(status int) string {
		return newHTTPBackend(t, func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.RequestURI, "Signature") {
				got <- r.RequestURI
			}
			w.WriteHeader(status)
		})
	}
	first, second := backend(http.StatusOK), backend(http.StatusInternalServerError)
	config := writeServeConfig(t, first, "")
	dir := filepath.Dir(config)
	t.Setenv("AKUBRA_BACKENDS", first+","+second)
	t.Setenv("AKUBRA_LOGGING_ACCESSLOG_FILE", filepath.Join(dir, "access.log"))
	p := mustStart(t, "-c", config)
	for _, query := range []string{
		"X-Amz-Credential=AKID&X-Amz-Security-Token=" + secret + "&X-Amz-Signature=" + secret,
		"AWSAccessKeyId=AKID&Signature=" + secret, "acl&X%2dAmz%2DSignature=" + secret,
	} {
		for _, path := range []string{"/bkt/key", "/bkt"} {
			target := path + "?" + query
			mustSend(t, "PUT", "http://"+p.addr()+target, "")
			for range 2 {
				if at := <-got; at != target {
					t.Errorf("a backend got %q, not %q", at, target)
				}
			}
		}
	}
	for range 2 {
		// A bad request, which the proxy itself answers.
		_, _, _ = send("GET", "http://"+p.addr()+"/bkt/key%00?Signature="+secret, "")
	}
	eventually(t, "everything is owed", func() bool {
		s := p.journal.journal.Stats()
		return s.Open == 0 && s.Pending == 4 // /bkt/key once, and each write to /bkt
	})
	if err := p.journal.journal.Flush(); err != nil {
		t.Fatal(err)
	}
	var next strings.Builder
	for cursor, ok := uint64(0), true; ok; {
		a, err := p.journalAdmin.serve("next", &wireRequest{Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&next, "%+v\n", a)
		cursor, ok = a.Next, a.OK
	}
	shown := map[string]string{"/journal/next": next.String()}
	for _, args := range [][]string{{"list"}, {"list", "--json"}, {"export"}, {"stats"}} {
		exit, stdout, stderr := runArgs(append(append([]string{"synclog"}, args...), "-c", config)...)
		if exit != exitOK {
			t.Errorf("%q: %d %s", args, exit, stderr)
		}
		shown[strings.Join(args, " ")] = stdout
	}
	for _, page := range []string{"/status", "/journal", "/metrics"} {
		shown[page] = mustSend(t, "GET", "http://"+p.adminAddr()+page, "")
	}
	p.signals <- syscall.SIGTERM
	p.wantExit(t, exitOK)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		shown[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for where, text := range shown {
		if i := strings.Index(text, secret); i >= 0 {
			t.Errorf("it stands in %s: %q", where, text[max(0, i-60):i+len(secret)])
		}
	}
	for _, where := range []string{"list --json", "export", filepath.Join(dir, "access.log"), filepath.Join(dir, "sync.log")} {
		if !strings.Contains(shown[where], "Signature=***") || !strings.Contains(shown[where], "AKID") {
			t.Errorf("%s does not show what is hidden: %s", where, shown[where])
		}
	}
}
