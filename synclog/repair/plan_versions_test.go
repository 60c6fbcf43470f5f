package repair

import (
	"strings"
	"testing"
)

// R35: what was done to a version is found by the versions that rest.
func TestR35PlanVersions(t *testing.T) {
	stack := func(text string) (all []version) { // "id:etag", "id:x" is a delete marker
		for _, w := range strings.Fields(text) {
			id, etag, _ := strings.Cut(w, ":")
			v := version{id: id, etag: etag}
			if etag == "x" {
				v.marker, v.etag = true, ""
			}
			all = append(all, v)
		}
		return all
	}
	for _, c := range []struct{ about, source, target, deleted, want string }{
		{"an old version (2)", "1:x", "9:x 8:v0", "old", "8"},
		{"the null version below a newer one (4)", "2:v2", "7:v2 null:v1", "null", "null"},
		{"the current version (7)", "1:v0", "9:v1 8:v0", "2", "9"},
		{"the last one", "", "null:v0", "null", "null"},
		{"the null version of who has none: all is gone for another reason", "", "9:v0", "null", "no"},
		{"a delete marker", "1:v0", "9:x 8:v0", "2", "9"},
		{"done already", "1:v0", "8:v0", "2", ""},
		{"two of them", "2:v1", "9:v2 8:v1 7:v0", "3 1", "9 7"},
		{"the same ids", "2:v0", "2:v0 1:v0", "1", "1"},
		{"the same ids, the newer of two that look the same", "1:v0", "2:v0 1:v0", "2", "2"},
		{"other ids, two that look the same", "1:v0", "9:v0 8:v0", "2", "8"},
		{"came back empty (3)", "1:v1", "", "0", "no"},
		{"one more than was deleted", "1:v1", "9:v1 8:v0 7:v9", "0", "no"},
		{"another one in its place", "2:v2 1:v1", "9:v2 8:v7 7:v0", "0", "no"},
	} {
		gone, ok := planVersions(stack(c.source), stack(c.target), strings.Fields(c.deleted))
		got := strings.Join(gone, " ")
		if !ok {
			got = "no"
		}
		if got != c.want {
			t.Errorf("%s: from %q what is %q: got %q, want %q", c.about, c.target, c.source, got, c.want)
		}
	}
}

// R35: a delete of a version that was acknowledged by backends that do not know its id is done
// where the id is known, and at its place on the others, there first.
func TestR35PlanNamed(t *testing.T) {
	for _, c := range []struct {
		about, said, id string
		stacks          []string
		want            string
	}{
		{"done by who gave the id", "A", "1", []string{"2", "9:v1 8:v0"}, ""},
		{"done by nobody", "B", "1", []string{"1:v0", "8:v0"}, "B:8 A:1"},
		{"done by nobody, below others", "B", "1", []string{"2:v1 1:v0", "9:v1 8:v0"}, "B:8 A:1"},
		{"done by nobody, and the others have other versions", "B", "1", []string{"2:v1 1:v0", "8:v1"}, "A:1"},
		{"begun, and ended before its end", "B", "1", []string{"2:v1 1:v0", "9:v1"}, "A:1"},
		{"who gave the id is out", "B", "1", []string{"out", "9:v0"}, ""},
		{"another one is out", "B", "1", []string{"1:v0", "8:v0", "out"}, "A:1"},
		{"replicas of each other", "C", "1", []string{"1:v0", "1:v0", "8:v0"}, "B:1 A:1"},
		{"it has come back", "A", "1", []string{"1:v0", "8:v0"}, "park: conflict"},
	} {
		write := claim{acked: true}
		var stacks [][]version
		for _, text := range c.stacks {
			var all []version
			for _, w := range strings.Fields(text) {
				id, etag, _ := strings.Cut(w, ":")
				all = append(all, version{id: id, etag: etag})
			}
			stacks = append(stacks, all)
		}
		for _, w := range strings.Fields(c.said) {
			write.said |= 1 << (w[0] - 'A')
		}
		write.owed = 1<<len(stacks) - 1
		gone, leave := planNamed(&write, c.id, stacks, func(i int) bool { return c.stacks[i] != "out" })
		var all []string
		for _, v := range gone {
			all = append(all, names([]int{v.backend})+":"+v.id)
		}
		got := strings.Join(all, " ")
		if leave.park != "" {
			got = leave.String()
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.about, got, c.want)
		}
	}
}

// R35: a version that was deleted is deleted under the ids that it is known to have, whatever
// else the backends have.
func TestR35PlanPaired(t *testing.T) {
	for _, c := range []struct {
		about, said string
		pairs       []string // by backend; "" is who gave the id, or not known
		stacks      []string
		want        string
		done        bool
	}{
		{"it is there under its own id", "A", []string{"", "8"}, []string{"2:v1", "9:v1 8:v0"}, "B:8", false},
		{"of two with the same content", "A", []string{"", "8"}, []string{"2:v0", "9:v0 8:v0 7:v0"}, "B:8", false},
		{"beside others that the giver has not", "A", []string{"", "8"}, []string{"", "9:v1 8:v0 7:v2"}, "B:8", false},
		{"it is gone", "A", []string{"", "8"}, []string{"2:v1", "9:v1 7:v2"}, "", true},
		{"it is out", "A", []string{"", "8"}, []string{"2:v1", "out"}, "", false},
		{"who gave it is out", "A", []string{"", "8"}, []string{"out", "8:v0"}, "B:8", false},
		{"who gave it has not done it", "B", []string{"", "8"}, []string{"3:v7 1:v0", "8:v0"}, "B:8 A:1", false},
		{"of a third one it is not known", "A", []string{"", "8", ""}, []string{"2:v1", "9:v1", "6:v0"}, "", false},
		{"it has come back", "A", []string{"", "8"}, []string{"1:v0", "8:v0"}, "park: conflict", false},
	} {
		var stacks [][]version
		for _, text := range c.stacks {
			var all []version
			for _, w := range strings.Fields(text) {
				id, etag, _ := strings.Cut(w, ":")
				all = append(all, version{id: id, etag: etag})
			}
			stacks = append(stacks, all)
		}
		write := claim{acked: true, owed: 1<<len(stacks) - 1, etags: c.pairs}
		for _, w := range strings.Fields(c.said) {
			write.said |= 1 << (w[0] - 'A')
		}
		seen := func(i int) bool { return c.stacks[i] != "out" }
		gone, leave := planNamed(&write, "1", stacks, seen)
		var all []string
		for _, v := range gone {
			all = append(all, names([]int{v.backend})+":"+v.id)
		}
		got := strings.Join(all, " ")
		if leave.park != "" {
			got = leave.String()
		}
		left, done := planPaired(&write, "1", stacks, seen)
		if done = done && len(left) == 0; got != c.want || done != c.done {
			t.Errorf("%s: got %q, want %q; done %t, want %t", c.about, got, c.want, done, c.done)
		}
	}
}

// R35: what all have the same of, or nothing.
func TestR35SameTops(t *testing.T) {
	v0, v1, marker := version{id: "1", etag: "v0"}, version{id: "2", etag: "v1"}, version{id: "3", marker: true}
	for _, c := range []struct {
		a, b []version
		want bool
	}{
		{[]version{v0}, []version{{id: "9", etag: "v0"}, v1}, true}, {[]version{v0}, []version{v1, v0}, false},
		{nil, []version{marker, v0}, true}, {[]version{marker}, nil, true}, {nil, nil, true}, {nil, []version{v0}, false}, {[]version{marker}, []version{v0}, false},
	} {
		if got := sameTops([][]version{c.a, c.b}); got != c.want {
			t.Errorf("%v, %v: %t", c.a, c.b, got)
		}
	}
}

// R35: a delete of a version that was refused is not done because a backend that does not know
// its id has said yes to it.
func TestR35PlanNeverDone(t *testing.T) {
	for _, c := range []struct {
		about  string
		acked  bool
		id     string
		stacks []string
		want   bool
	}{
		{"refused by who gave the id", false, "1", []string{"1", "8 9"}, true},
		{"refused by who gave the id, and another one is out", false, "1", []string{"1", "out"}, true},
		{"it is gone", false, "1", []string{"2", "8"}, false},
		{"acknowledged", true, "1", []string{"1", "8"}, false},
		{"a version that all have", false, "null", []string{"null", "null"}, false},
		{"replicas of each other", false, "1", []string{"2 1", "2"}, false},
		{"who gave the id is out", false, "1", []string{"out", "8"}, false},
		{"both have a null version", false, "1", []string{"1 null", "8 null"}, true},
	} {
		var stacks [][]version
		for _, text := range c.stacks {
			var all []version
			for _, id := range strings.Fields(text) {
				all = append(all, version{id: id})
			}
			stacks = append(stacks, all)
		}
		got := neverDone(&claim{acked: c.acked}, c.id, stacks, func(i int) bool { return c.stacks[i] != "out" })
		if got != c.want {
			t.Errorf("%s: %t", c.about, got)
		}
	}
}
