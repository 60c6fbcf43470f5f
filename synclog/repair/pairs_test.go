package repair

import (
	"fmt"
	"testing"

	"github.com/akubra/akubra/synclog/task"
)

// What is remembered is bounded; what the journal knows goes before it, and no more than
// writes to versions hear of it.
func TestPairs(t *testing.T) {
	var p pairs
	for i := range 2 * maxPairs {
		p.note(pairKey{"b", "k", fmt.Sprint(i)}, "A", "a")
	}
	if n := len(p.young) + len(p.old); n > maxPairs {
		t.Errorf("%d are kept", n)
	}
	last := fmt.Sprint(2*maxPairs - 1)
	p.note(pairKey{"b", "k", last}, "B", "b")
	known := map[string]string{"A": "known"}
	work := &task.Task{Bucket: "b", Key: "k", Writes: []task.Write{
		{Aspect: task.Version, Method: "DELETE", Target: "/b/k?versionId=" + last, ETags: known},
		{Aspect: task.Content, Method: "PUT", Target: "/b/k?versionId=" + last},
		{Aspect: task.Version, Method: "DELETE", Target: "/b/k?versionId=0"},
	}}
	p.recall(work)
	if got := work.Writes[0].ETags; got["A"] != "known" || got["B"] != "b" || len(known) != 1 {
		t.Errorf("recalled %v, known %v", got, known)
	}
	if work.Writes[1].ETags != nil || work.Writes[2].ETags != nil {
		t.Errorf("%+v", work.Writes[1:])
	}
}
