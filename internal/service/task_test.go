package service

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/ledger/ledgertest"
	"github.com/akubra/akubra/internal/logs"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog/task"
)

// What a client's request says of a write, and how its backends have answered, comes to
// repair as it was (R18, R35): with an intent, where the second backend answers last, and
// without one, where the client waits for both.
func TestR35FromARequestToItsTask(t *testing.T) {
	const other = "00112233445566778899aabbccddeeff"
	type request struct {
		name   string
		method string
		path   string
		header string
		second stub.Behaviour
		want   func(w *task.Write, first, second string) bool
	}
	carries := func(header string, kind task.Carried) request {
		return request{
			"what it carries: " + header, http.MethodPut, "/b/k", header, stub.Behaviour{Status: 500},
			func(w *task.Write, _, _ string) bool { return w.Carried == kind },
		}
	}
	for _, c := range []request{
		{
			"a forced delete of a bucket", http.MethodDelete, "/b", "x-minio-force-delete", stub.Behaviour{Status: 500},
			func(w *task.Write, _, _ string) bool {
				return w.Unrepeatable && w.Method == http.MethodDelete && w.Delete()
			},
		},
		{
			"a delete that is not forced", http.MethodDelete, "/b", "", stub.Behaviour{Status: 500},
			func(w *task.Write, _, _ string) bool { return !w.Unrepeatable && w.Delete() },
		},
		{
			"ETags that differ", http.MethodPut, "/b/k", "", stub.Behaviour{Headers: stub.H("ETag", `"`+other+`"`)},
			func(w *task.Write, first, second string) bool {
				of := func(name string) string { return cmp.Or(w.ETags[name], w.ETag) } // either may have been first
				return len(w.ETags) == 1 && of(second) == other && of(first) != other && of(first) != "" && len(w.Took) == 2 && len(w.Owed) == 2
			},
		},
		{
			"a delete in spite of a retention", http.MethodDelete, "/b/k?versionId=7", "x-amz-bypass-governance-retention", stub.Behaviour{Status: 500},
			func(w *task.Write, _, _ string) bool { return w.Carried == task.CarriedBypass },
		},
		carries("x-amz-tagging", task.CarriedTags), carries("x-amz-meta-color", task.CarriedMetadata), carries("cache-control", task.CarriedMetadata),
		carries("x-amz-object-lock-mode", task.CarriedLock), carries("content-type", 0),
	} {
		for _, intent := range []bool{false, true} {
			if !intent && c.second.Status >= 300 {
				continue // with WriteAck all it is not acknowledged
			}
			t.Run(fmt.Sprintf("%s, intent %t", c.name, intent), func(t *testing.T) {
				first, second := stub.New(t), stub.New(t)
				config := config.Default()
				config.Listen, config.AdminListen, config.DataDir = "127.0.0.1:0", "127.0.0.1:0", filepath.Join(t.TempDir(), "data")
				config.Backends, config.WriteAck = []string{first.URL(), second.URL()}, "all"
				config.ReadFrom = map[string]string{first.URL(): "2", second.URL(): "1"} // the first decides (R28, R29)
				answer := make(chan struct{})
				if intent {
					config.WriteAck, c.second.Gate = "first", answer
				}
				second.Behave(c.second)
				testkit.MustDo(t, config.Complete())
				p, err := New(config, logs.Plain(io.Discard, io.Discard), "test")
				if err == nil {
					err = p.Start()
				}
				testkit.MustDo(t, err)
				defer p.Stop()
				req, err := http.NewRequestWithContext(t.Context(), c.method, "http://"+p.Addr()+c.path, strings.NewReader("content"))
				testkit.MustDo(t, err)
				if c.header != "" {
					req.Header.Set(c.header, "true")
				}
				status := make(chan int, 1)
				go func() {
					res, err := http.DefaultClient.Do(req)
					if err != nil {
						t.Error(err)
						status <- 0
						return
					}
					_ = res.Body.Close()
					status <- res.StatusCode
				}()
				if got := testkit.Receive(t, "the status", status); got/100 != 2 {
					t.Fatalf("status %d", got)
				}
				if intent {
					if s := p.journal.Journal.Stats(); s.Open != 1 {
						t.Errorf("%d intents are open", s.Open)
					}
					close(answer)
				}
				var tasks []task.Task
				testkit.Eventually(t, "the task", func() bool {
					tasks = ledgertest.Tasks(t, p.journal)
					return len(tasks) > 0
				})
				names := p.names()
				if len(tasks) != 1 || len(tasks[0].Writes) != 1 || !c.want(&tasks[0].Writes[0], names[0], names[1]) {
					t.Errorf("tasks %+v", tasks)
				}
			})
		}
	}
}
