package journal

import (
	"testing"

	"github.com/akubra/akubra/synclog/task"
)

// A write to a version never replaces what is known of the content (R35), whichever
// comes first; alone it is pending as any.
func TestR35VersionsAndContent(t *testing.T) {
	t.Parallel()
	ofVersion := func(e Entry) Entry {
		e.Method, e.Aspect, e.Target = "DELETE", task.Version, []byte("/b/k?versionId=v")
		return e
	}
	for _, content := range []Entry{put("k", 0b10), with(put("k", 0b10), "DELETE")} {
		for _, contentFirst := range []bool{true, false} {
			r := newRig(t, Options{})
			first, second := content, ofVersion(put("k", 0b111))
			if !contentFirst {
				first, second = second, first
			}
			r.promise(first)
			seq := r.promise(opened(second))
			r.settle(seq, second.Owed, nil)
			r.wantAlways(content.Method + " k 111")
			p := r.all()[0]
			if w := p.Of(task.Content); w == nil || len(w.Owed) != 1 || len(p.Writes) != 2 || len(p.Rivals) != 0 || p.RivalsLost {
				t.Errorf("pending is %+v", p)
			}
		}
	}
	r := newRig(t, Options{})
	r.promise(ofVersion(put("k", 0b111)))
	r.wantAlways("DELETE k 111")
}
