package journal

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog/task"
)

// Everything in the files is told, today's and earlier records, and what is damaged.
func TestDump(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	testkit.MustDo(t, os.CopyFS(dir, os.DirFS(oldFiles)))
	j, err := Open(Options{Dir: dir, Backends: []string{"a:1", "b:2", "c:3"}, manual: true, scanBelow: 1})
	testkit.MustDo(t, err)
	e := put("new\x00", 2)
	e.ETags = []task.BackendETag{{Backend: 2, ETag: []byte("other")}}
	rival := untold(put("new\x00", 4))
	seq := opened(of(task.Tags, put("tags", 2)))
	testkit.MustDo(t, j.Promise([]Entry{e, rival, seq}))
	testkit.MustDo(t, j.checkpoint())
	last := j.segs[len(j.segs)-1]
	name := j.path(last.name())
	testkit.MustDo(t, j.Close())
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	testkit.MustDo(t, err)
	_, err = f.WriteString("torn")
	testkit.MustDo(t, f.Close())
	testkit.MustDo(t, err)
	var out bytes.Buffer
	testkit.MustDo(t, Dump(dir, &out))
	for _, want := range []string{
		`names ["a:1" "b:2" "c:3"]`, `state of an earlier version bucket "bkt" key "mixed"`, `intent of an earlier version`, "settle ",
		`state bucket "b" key "new\x00"`, `owed "b:2" took -`, `etag of "c:3" "other"`, "rival of content", "unacknowledged", "write of tags",
		"4 bytes at the end are no record", "checkpoint: ", "keys: ", `bucket "bkt"`, "end of ", "parked \"failed\"",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if err := Dump(dir+"/nowhere", &out); err == nil {
		t.Error("dumped what is not there")
	}
}
