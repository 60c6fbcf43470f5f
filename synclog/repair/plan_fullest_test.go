package repair

import "testing"

// R35: who has a Content-Type more than one that has the write for sure, and may lack the write
// itself, may have guessed it: it is given the copy, which shows that. Other metadata is no
// guess, and who has the write for sure has not made it up either.
func TestR35FullestButForAGuess(t *testing.T) {
	for _, c := range []struct {
		meta   string
		owed   uint64
		action action
		source int
	}{
		{"Content-Type:text/plain\n", 2, actCopy, 0},
		{"Cache-Control:no-store\n", 2, actNothing, -1},
		{"Content-Type:text/plain\n", 0, actNothing, -1},
	} {
		k := &knowledge{stands: &claim{etag: "v1", acked: true, said: 3, took: 3 &^ c.owed, owed: c.owed}}
		views := []view{{is: present, etag: "v1"}, {is: present, etag: "v1", meta: c.meta}}
		p := planContent(k, views, policy{prefer: -1})
		if p.action != c.action || p.source != c.source || (p.park == "") != (c.action == actCopy) {
			t.Errorf("%+v: %+v", c, p)
		}
	}
}
