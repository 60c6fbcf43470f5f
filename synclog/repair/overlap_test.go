package repair

import (
	"testing"

	"github.com/akubra/akubra/synclog/task"
)

// R35: of writes that overlapped any may have landed last. What is of none of them is no more right where all are
// known: a backend that shows it was restored, or changed past the proxy.
func TestR35WritesThatOverlappedAreAll(t *testing.T) {
	w2, w3 := newWorld(t, 2), newWorld(t, 3)
	put := func(w *world, etag string, took ...int) task.Write {
		return w.by(task.Content, "PUT", etag, "", took...)
	}
	del := func(w *world, took ...int) task.Write { return w.by(task.Content, "DELETE", "", "", took...) }
	allOwe := func(w *world, wr task.Write) task.Write {
		wr.Owed = nil
		for _, s := range w.stores {
			wr.Owed = append(wr.Owed, s.name)
		}
		return wr
	}
	for _, tt := range []struct {
		about          string
		w              *world
		stands, rival  task.Write
		shown          string
		known, unknown string // what is done where all that overlapped are known, and where not
	}{
		{"two PUTs, and who took them was restored", w2, put(w2, "v2", 1), put(w2, "v1", 1), "v0 / v0", "park: conflict", "equal"},
		{"… and the other one has nothing", w2, put(w2, "v2", 1), put(w2, "v1", 1), "- / v0", "park: conflict", "copy B to A"},
		{"… or has been wiped", w2, put(w2, "v2", 1), put(w2, "v1", 1), "v0 / -", "park: lost", "park: lost"},
		{"… and the other one comes back with one of them", w2, put(w2, "v2", 1), put(w2, "v1", 1), "v1 / v0", "park: conflict", "park: conflict"},
		{"two PUTs on both, which were restored", w2, allOwe(w2, put(w2, "v2", 0, 1)), put(w2, "v1", 0, 1), "v0 / v0", "park: lost", "equal"},
		{"… and one of which was", w2, allOwe(w2, put(w2, "v2", 0, 1)), put(w2, "v1", 0, 1), "v0 / v1", "copy B to A", "copy B to A"},
		{"two PUTs, and both of three that took them were restored", w3, allOwe(w3, put(w3, "v2", 0, 1)), put(w3, "v1", 0, 1), "v0 / v0 / v0", "park: lost", "equal"},
		{"… and one of them was", w3, allOwe(w3, put(w3, "v2", 0, 1)), put(w3, "v1", 0, 1), "v0 / v1 / v0", "copy B to A C", "copy B to A C"},
		{"a PUT and a delete, and who took them was restored", w2, put(w2, "v2", 1), del(w2, 1), "v0 / v0", "park: conflict", "equal"},
		{"… and the delete landed last", w2, put(w2, "v2", 1), del(w2, 1), "v0 / -", "delete from A", "delete from A"},
		{"a delete and a PUT, and who took them was restored", w2, del(w2, 1), put(w2, "v1", 1), "- / v0", "park: conflict", "park: conflict"},
		{"the other one's ETag is not known", w2, put(w2, "v2", 1), put(w2, "", 1), "v9 / v9", "equal", "equal"},
		{"its own ETag is not known", w2, allOwe(w2, put(w2, "", 1)), put(w2, "v1", 1), "v9 / v9", "equal", "equal"},
		{"the other one came to nothing", w2, put(w2, "v2", 1), task.Write{}, "v0 / v0", "park: conflict", "equal"},
		{"the other one came to nothing, or was to its ACL", w2, put(w2, "v2", 0, 1), task.Write{}, "v2+acl / v2", "copy A to B", "copy A to B"},
		{"a delete, and the other one came to nothing", w2, del(w2, 0, 1), task.Write{}, "- / v0", "park: conflict", "copy B to A"},
		{"the other one came to nothing, and who took it has it", w2, put(w2, "v2", 1), task.Write{}, "v0 / v2", "copy B to A", "copy B to A"},
	} {
		for _, known := range []bool{true, false} {
			tk := &task.Task{Bucket: "b", Key: "k"}
			tt.stands.Seq, tt.stands.Settled, tt.stands.Overlapped, tt.stands.OverlapKnown = 20, 30, true, known
			tt.rival.Seq, tt.rival.Settled, tt.rival.Overlapped = 10, 40, true
			tk.Writes = []task.Write{tt.stands}
			if tt.rival.Method != "" {
				tk.Rivals = []task.Write{tt.rival}
			}
			_, views := parseRow(t, &row{known: "PUT v1 (A)", shown: tt.shown})
			want := tt.unknown
			if known {
				want = tt.known
			}
			if got := planContent(tt.w.repairer().knowledgeOf(tk), views, policy{prefer: -1}).String(); got != want {
				t.Errorf("%s, known %t: %q, want %q", tt.about, known, got, want)
			}
			if tk.RivalsLost = true; known && want == "park: conflict" && tt.unknown == "equal" {
				if got := planContent(tt.w.repairer().knowledgeOf(tk), views, policy{prefer: -1}).String(); got != "equal" {
					t.Errorf("%s, and others were dropped: %q", tt.about, got)
				}
			}
		}
	}
}

// R19, R35: an ACL, or tags, that came behind the content's write on one backend, and before it on another one, where it
// was refused or has gone, are the same everywhere afterwards: which came last nobody can say.
func TestR35PartThatOverlappedWithContent(t *testing.T) {
	t.Parallel()
	for _, part := range []struct {
		name   string
		aspect task.Aspect
		header [2]string
	}{{"acl", task.ACL, [2]string{"X-Amz-Acl", "public-read"}}, {"tagging", task.Tags, [2]string{"X-Amz-Tagging", "a=1"}}} {
		for n := range 4 {
			has, told := n%2, n/2 == 1
			w := newWorld(t, 2)
			for _, s := range w.stores {
				s.quirks.noTagCount = true
			}
			w.stores[has].put("b", "k", "x", 0, part.header[0], part.header[1])
			o := w.stores[1-has].put("b", "k", "x", 0)
			of, put := w.by(part.aspect, "PUT", "", part.name, has), w.by(task.Content, "PUT", o.etag, "", 0, 1)
			put.Overlapped, put.OverlapKnown = told, told
			task := w.knows("k", of, put)
			task.Writes[0].Settled, task.Writes[1].Settled = task.Writes[1].Seq+1, task.Writes[1].Seq+1
			w.mustResolve()
			if a, b := w.stores[0].doc("k", part.name), w.stores[1].doc("k", part.name); (a == "") != (b == "") {
				t.Errorf("?%s that %d has: A has %q, B %q", part.name, has, a, b)
			}
		}
	}
}
