package journal

import "testing"

// A write to a version never replaces what is known of the content (R35), whichever
// comes first; alone it is pending as any.
func TestR35VersionsAndContent(t *testing.T) {
	t.Parallel()
	ofVersion := func(e Entry) Entry { e.Method, e.Aux = "DELETE", AuxVersion; return e }
	for _, content := range []Entry{put("k", 0b10), with(put("k", 0b10), "DELETE")} {
		for _, contentFirst := range []bool{true, false} {
			r := newRig(t, Options{})
			first, second := content, ofVersion(put("k", 0b111))
			if !contentFirst {
				first, second = second, first
			}
			r.promise(first)
			seq := r.promise(opened(second))
			r.Settle(seq, second.Owed, nil)
			r.wantAlways(content.Method + " k 10")
			if p := r.all()[0]; p.Aux&AuxVersion != 0 || contentFirst && p.Aux&AuxDoubt == 0 {
				t.Errorf("pending with the flags %b", p.Aux)
			}
		}
	}
	r := newRig(t, Options{})
	r.promise(ofVersion(put("k", 0b111)))
	r.wantAlways("DELETE k 111")
}
