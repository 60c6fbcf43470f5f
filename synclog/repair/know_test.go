package repair

import (
	"strings"
	"testing"

	"github.com/akubra/akubra/synclog/task"
)

// R35: what a task tells of the content, and what stands beside it.
func TestR35KnowledgeOf(t *testing.T) {
	w := newWorld(t, 2)
	r := w.repairer()
	a, b := w.stores[0].name, w.stores[1].name
	k := r.knowledgeOf(&task.Task{
		Bucket: "b", Key: "k",
		Writes: []task.Write{
			{Aspect: task.Tags, Seq: 1, Method: "PUT", Took: []string{b}},
			{Aspect: task.Content, Seq: 2, Method: "PUT", ETag: `"e"`, Size: 3, Took: []string{a}, Owed: []string{b}, ETags: map[string]string{b: "f"}},
			{Aspect: task.Version, Seq: 3, Method: "DELETE", Target: "/b/k?versionId=1", Took: []string{b}},
		},
		Rivals: []task.Write{
			{Aspect: task.Content, Seq: 1, Method: "PUT", Unacknowledged: true}, // before what stands
			{Aspect: task.Content, Seq: 4, Method: "DELETE", Unacknowledged: true},
		},
	})
	if c := k.stands; c == nil || c.etagAt(0) != "e" || c.etagAt(1) != "f" || c.took != 1 || c.owed != 2 || c.size != 3 || !c.acked {
		t.Errorf("stands: %+v", k.stands)
	}
	if len(k.rivals) != 1 || !k.rivals[0].del || k.rivals[0].acked || k.revised != 2 {
		t.Errorf("rivals: %+v, revised %b", k.rivals, k.revised)
	}
	for _, c := range []struct {
		writes []task.Write
		want   string
	}{
		{[]task.Write{{Aspect: task.Content, Seq: 1}, {Aspect: task.Tags, Seq: 2}, {Aspect: task.LegalHold, Seq: 3}}, "tagging legal-hold"},
		{[]task.Write{{Aspect: task.Tags, Seq: 1}, {Aspect: task.Content, Seq: 2}, {Aspect: task.ACL, Seq: 3}}, "acl"},
		{[]task.Write{{Aspect: task.Retention, Seq: 1}}, "retention"},
	} {
		var got []string
		for _, p := range partsOf(&task.Task{Writes: c.writes}) {
			got = append(got, partNames[p.Aspect])
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v: got %q, want %q", c.writes, got, c.want)
		}
	}
}
