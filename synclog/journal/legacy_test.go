package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog/task"
)

// oldFiles is the directory of a journal as it was written before what is known was kept
// by aspect.
const oldFiles = "testdata/v1"

type oldPayload struct {
	typ     byte
	payload []byte
}

func oldPayloads(t testing.TB) (all []oldPayload) {
	names, err := filepath.Glob(oldFiles + "/*.seg")
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	data, err := os.ReadFile(names[0])
	testkit.MustDo(t, err)
	_, salt, _ := parseSegmentName(filepath.Base(names[0]))
	for p := data[len(segmentMagic):]; len(p) > 0; p = p[frameSize(p):] {
		typ, payload, ok := parseFrame(p, salt)
		if !ok {
			t.Fatal("the old journal is damaged")
		}
		all = append(all, oldPayload{typ, payload})
	}
	return all
}

// what a task says, in one line: its writes, then "?" and its rivals.
func what(t *task.Task) string {
	var s []string
	aspects := []string{"content", "tags", "acl", "retention", "hold", "setting", "version", "found"}
	for _, w := range t.Writes {
		s = append(s, fmt.Sprintf("%s %s owed %s took %s", aspects[w.Aspect], w.Method, w.Owed, w.Took))
	}
	for _, w := range t.Rivals {
		s = append(s, fmt.Sprintf("? %s %s owed %s", aspects[w.Aspect], w.Method, w.Owed))
	}
	if t.RivalsLost {
		s = append(s, "?")
	}
	if t.VersionsLost {
		s = append(s, "versions lost")
	}
	if t.Parked != "" {
		s = append(s, "parked: "+string(t.Parked))
	}
	return t.Key + t.Target + ": " + strings.Join(s, ", ")
}

// R35: a journal of before opens, and says what it can; then it stays so, also once its
// records are written anew.
func TestR35OldJournal(t *testing.T) {
	want := []string{
		"/bkt: content PUT owed [b:2] took [a:1 c:3]",
		"/bkt?policy: setting PUT owed [b:2] took [a:1 c:3]",
		"before: content PUT owed [b:2] took [a:1 c:3]",
		"content: content PUT owed [b:2] took [a:1 c:3]",
		"deleted: content DELETE owed [c:3] took [a:1 b:2]",
		"doubt: content PUT owed [b:2] took [a:1 c:3], ?",
		"found: found  owed [c:3] took []",
		"mixed: tags PUT owed [b:2 c:3] took [a:1], ? content PUT owed [b:2 c:3], ?",
		"open: content PUT owed [b:2 c:3] took [a:1]",
		"opentags: tags PUT owed [b:2 c:3] took [a:1]",
		"overlapped: content PUT owed [a:1 b:2] took [c:3]",
		"parked: content PUT owed [b:2] took [a:1 c:3], parked: failed",
		"settled: content PUT owed [c:3] took [a:1 b:2]",
		"tags: tags PUT owed [b:2] took [a:1 c:3], ? content PUT owed [b:2], ?",
		"unacked: ? content PUT owed [a:1 b:2 c:3]",
		"version: version DELETE owed [a:1 b:2 c:3] took [], ? content DELETE owed [a:1 b:2 c:3], ?, versions lost",
	}
	for i := range want { // of what stood there, content has no method
		want[i] = strings.NewReplacer("? content PUT owed [b:2 c:3]", "? content  owed [b:2 c:3]", "? content PUT owed [b:2],", "? content  owed [b:2],",
			"? content DELETE", "? content ").Replace(want[i])
	}
	dir := t.TempDir()
	testkit.MustDo(t, os.CopyFS(dir, os.DirFS(oldFiles)))
	var read []string
	if s, err := Read(dir, func(p *task.Task, _ []string) bool {
		read = append(read, what(p))
		return true
	}); err != nil || s.Damaged != 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	if slices.Sort(read); !slices.Equal(read, want) {
		t.Errorf("read:\n%s\nwant:\n%s", strings.Join(read, "\n"), strings.Join(want, "\n"))
	}
	o := Options{Dir: dir, Backends: []string{"a:1", "b:2", "c:3"}, OnError: func(err error) { t.Error(err) }, manual: true}
	for _, how := range []string{"opened", "opened again", "written anew"} {
		j, err := Open(o)
		testkit.MustDo(t, err)
		if how == "written anew" {
			for _, s := range slices.Clone(j.segs[:len(j.segs)-1]) {
				testkit.MustDo(t, j.moveLive(s, 0))
			}
		}
		var got []string
		for cursor := uint64(0); ; {
			p, next, ok := j.Next(cursor)
			if !ok {
				break
			}
			cursor = next
			got = append(got, what(&p))
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%s:\n%s\nwant:\n%s", how, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		testkit.MustDo(t, j.Close())
	}
}
