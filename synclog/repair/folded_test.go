package repair

import (
	"testing"
)

// R35: storages that hold a name under another one, and all show under it what was
// acknowledged, are equal, and one that has none gets it; where one shows something else, it may be another
// key's.
func TestR35NamesFoldedAlike(t *testing.T) {
	for _, c := range []struct {
		a, b  string
		alike bool
	}{{"v1", "v1", true}, {"v1", "v7", false}} {
		k := &knowledge{stands: &claim{etag: "v1", acked: true, said: 1, took: 1, owed: 2}}
		views := []view{{is: present, etag: c.a, folded: true}, {is: present, etag: c.b, folded: true}}
		k.foldAlike(views)
		p := planContent(k, views, policy{prefer: -1})
		if equal := p.action == actNothing && p.park == "" && !p.wait; equal != c.alike {
			t.Errorf("%+v: %+v", c, p)
		}
	}
	k := &knowledge{stands: &claim{etag: "v1", acked: true, said: 1, took: 1, owed: 2}}
	views := []view{{is: present, etag: "v1", folded: true}, {is: absent}}
	k.foldAlike(views)
	if p := planContent(k, views, policy{prefer: -1}); p.action != actCopy || p.source != 0 || len(p.targets) != 1 {
		t.Errorf("one has none yet: %+v", p)
	}
}
