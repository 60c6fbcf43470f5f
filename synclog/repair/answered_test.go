package repair

import (
	"testing"

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
