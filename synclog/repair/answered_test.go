package repair

import (
	"testing"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// R19, R35: a write whose client was told before the newest began is no rival of it, but
// where a backend gave it no answer.
func TestR35WritesInOrderAreNoRivals(t *testing.T) {
	w := newWorld(t, 2)
	r := w.repairer()
	a, b := w.stores[0].name, w.stores[1].name
	put := task.Write{Aspect: task.Content, Seq: 10, Settled: 40, Answered: 20, Method: "PUT", ETag: "v1", Took: []string{a}, Owed: []string{b}}
	del := task.Write{Aspect: task.Content, Seq: 30, Settled: 50, Method: "DELETE", Took: []string{a, b}, Overlapped: true}
	k := r.knowledgeOf(&task.Task{Writes: []task.Write{del}, Rivals: []task.Write{put}})
	if len(k.rivals) != 0 || k.blur || k.stands.owed != 2 || k.stands.took != 1 {
		t.Errorf("in order: %+v, %+v", k, k.stands)
	}
	put.Answered = 31
	if k = r.knowledgeOf(&task.Task{Writes: []task.Write{del}, Rivals: []task.Write{put}}); len(k.rivals) != 1 || k.stands.owed != 0 {
		t.Errorf("at the same time: %+v, %+v", k, k.stands)
	}
	put.Answered = 0
	if k = r.knowledgeOf(&task.Task{Writes: []task.Write{del}, Rivals: []task.Write{put}}); len(k.rivals) != 1 {
		t.Errorf("not known: %+v, %+v", k, k.stands)
	}
}

// R19, R35: a backend that shows a write which the newest has replaced is behind. That was
// the proxy's own doing, and is not told as a change past it.
func TestR35WhatCameLateIsNoConflict(t *testing.T) {
	w := newWorld(t, 2)
	newer, older := w.stores[0].put("b", "k", "new", time.Second), w.stores[1].put("b", "k", "a larger one", 0)
	first, second := w.by(task.Content, "PUT", older.etag, "", 0, 1), w.by(task.Content, "PUT", newer.etag, "", 0, 1)
	known := w.knows("k", second)
	first.Owed, first.Overlapped, first.Target = first.Took, true, "/b/k"
	first.Seq, first.Answered, first.Settled = known.Writes[0].Seq-2, known.Writes[0].Seq-1, known.Writes[0].Seq+1
	known.Writes[0].Overlapped = true
	known.Rivals = append(known.Rivals, first)
	w.mustResolve()
	mustBe(t, "B", w.body(1, "k"), "new")
}
