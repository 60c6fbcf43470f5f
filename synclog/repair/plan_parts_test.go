package repair

import (
	"strings"
	"testing"
)

// R35: sub-resources, each by itself.
func TestR35PlanPart(t *testing.T) {
	for _, c := range []struct{ about, took, shown, want string }{
		{"one owes it", "A", "t1 t0", "copy A to B"},
		{"one owes it, who took it has none now", "A", "- t0", "copy A to B"},
		{"the first one of an object (16)", "A", "t1 -", "copy A to B"},
		{"equal", "A", "t1 t1", "equal"},
		{"who took it is out", "A", "? t0", "wait"},
		{"who owes it is out", "A", "t1 ?", "wait"},
		{"changed past the proxy", "A B", "t1 t2", "park: conflict"},
		{"forgotten", "A B", "t1 -", "park: not kept"},
		{"it was given it, and has not kept it", "A", "t1 -!", "park: not kept"},
		{"such documents are not known there", "A", "t1 x", "park: not kept"},
		{"such documents are not known there, and there is none", "A", "- x", "equal"},
		{"the object is not there", "A", "t1 gone", "park: conflict"},
		{"the object is another one", "A", "t1 t1@v9", "park: conflict"},
		{"the object is gone", "A", "gone gone", "equal"},
		{"of unknown outcome", "", "t1 t0", "copy A to B"},
		{"of unknown outcome, one has none", "", "- t0", "copy B to A"},
		{"in doubt, and taken away from one", "A B ?", "- t1", "copy B to A"},
		{"in doubt, and the other one has an older one", "A B ?", "t1 t0", "copy A to B"},
		{"in doubt, and who took it has none now", "A ?", "- t0", "copy A to B"},
		{"in doubt, and all owe it", "?", "- t1", "copy B to A"},
		{"deleted", "A DELETE", "- t0", "copy A to B"},
		{"deleted, and there again where that was taken", "A DELETE", "t1 -", "park: conflict"},
		{"in doubt, and it was deleted", "A B DELETE ?", "t1 -", "copy A to B"},
	} {
		var parts []part
		for _, w := range strings.Fields(c.shown) {
			v := &view{is: present, etag: "v1"}
			p := part{object: v, is: present}
			w, p.refused = strings.CutSuffix(w, "!")
			doc, etag, other := strings.Cut(w, "@")
			if other {
				v.etag = etag
			}
			switch doc {
			case "?":
				v.is, p.is = unknown, unknown
			case "gone":
				v.is, p.is = absent, absent
			case "x":
				p.is, p.none = unknown, true
			case "-":
				p.is = absent
			default:
				p.normal = doc
			}
			parts = append(parts, p)
		}
		write := claim{acked: c.took != ""}
		doubt := false
		for _, w := range strings.Fields(c.took) {
			switch w {
			case "?":
				doubt = true
			case "DELETE":
				write.clears = true
			default:
				write.took |= 1 << (w[0] - 'A')
			}
		}
		write.owed = (1<<len(parts) - 1) &^ write.took
		if got := planPart(&write, parts, "tagging", doubt).String(); got != c.want {
			t.Errorf("%s: %s took it, shown %q: got %q, want %q", c.about, c.took, c.shown, got, c.want)
		}
	}
}

// R35: a part is gone where none of those that took it has the object any more.
func TestR35PartGone(t *testing.T) {
	for _, c := range []struct {
		took, shown string
		want        bool
	}{
		{"B", "v1 / -", true}, {"B", "v1 / v1", false}, {"B", "v1 / v0", false}, {"B", "v1 / out", false},
		{"A B", "v1 / -", false}, {"B C", "v1 / - / -", true}, {"B C", "v1 / - / v1", false}, {"", "v1 / -", false},
	} {
		_, views := parseRow(t, &row{known: "PUT v1 (A)", shown: c.shown})
		write := claim{acked: true}
		for _, w := range strings.Fields(c.took) {
			write.took |= 1 << (w[0] - 'A')
		}
		if got := write.gone(views); got != c.want {
			t.Errorf("%q took it, shown %q: %t", c.took, c.shown, got)
		}
	}
}
