package cli

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/akubra/akubra/internal/remote"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog/task"
)

// TestR37NoSecretIsKept: nothing from which a presigned request could be sent again is kept,
// neither in a log, nor in the journal, nor on a page; but the backends get it.
func TestR37NoSecretIsKept(t *testing.T) {
	const secret = "0123feedhush"
	got := make(chan string, 100)
	backend := func(status int) string {
		return testkit.NewBackend(t, func(w http.ResponseWriter, r *http.Request) {
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
			testkit.MustSend(t, "PUT", "http://"+p.Addr()+target, "")
			for range 2 {
				if at := testkit.Receive(t, "the request at a backend", got); at != target {
					t.Errorf("a backend got %q, not %q", at, target)
				}
			}
		}
	}
	for range 2 {
		// A bad request, which the proxy answers itself.
		_, _, _ = testkit.Send("GET", "http://"+p.Addr()+"/bkt/key%00?Signature="+secret, "")
	}
	testkit.Eventually(t, "everything is owed", func() bool {
		s := p.JournalStatus()
		return s.Open == 0 && s.Pending == 3 // /bkt/key, /bkt, and its ACL
	})
	var next strings.Builder
	client := remote.NewClient(p.AdminAddr(), func(err error) { t.Error(err) })
	testkit.MustDo(t, client.Start(context.Background()))
	for cursor, ok := uint64(0), true; ok; {
		var task task.Task
		var err error
		if task, cursor, ok, err = client.Next(cursor); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&next, "%+v\n", task)
	}
	client.Close() // at the end of its session, the files contain what was written
	shown := map[string]string{"/journal/next": next.String()}
	for _, args := range [][]string{{"list"}, {"list", "--json"}, {"export"}, {"stats"}} {
		exit, stdout, stderr := runArgs(append(append([]string{"synclog"}, args...), "-c", config)...)
		if exit != exitOK {
			t.Errorf("%q: %d %s", args, exit, stderr)
		}
		shown[strings.Join(args, " ")] = stdout
	}
	for _, page := range []string{"/status", "/journal", "/metrics"} {
		shown[page] = testkit.MustSend(t, "GET", "http://"+p.AdminAddr()+page, "")
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
	testkit.MustDo(t, err)
	for where, text := range shown {
		if i := strings.Index(text, secret); i >= 0 {
			t.Errorf("it stands in %s: %q", where, text[max(0, i-60):i+len(secret)])
		}
	}
	for _, where := range []string{"list --json", "export", filepath.Join(dir, "access.log"), filepath.Join(dir, "sync.log")} {
		logs := strings.HasSuffix(where, ".log") // the journal has the key's newest target
		if !strings.Contains(shown[where], "Signature=***") || logs && !strings.Contains(shown[where], "AKID") {
			t.Errorf("%s does not show what is hidden: %s", where, shown[where])
		}
	}
}
