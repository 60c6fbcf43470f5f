package interop

import (
	"slices"
	"testing"
)

// TestValues: what the soak relies on tells a whole object from what is none, and
// what may be there from what may not.
func TestValues(t *testing.T) {
	whole := value("k", 7, 1000)
	if id, err := parseValue("k", whole); id != 7 || err != nil {
		t.Errorf("a whole value is %d, %v", id, err)
	}
	mixed := append(slices.Clone(whole[:500]), value("k", 8, 1000)[500:]...)
	for name, data := range map[string][]byte{
		"short": whole[:900], "of another key": value("l", 7, 1000), "mixed": mixed, "longer": append(slices.Clone(whole), 'x'),
		"empty": nil, "in the head": whole[:5],
	} {
		if id, err := parseValue("k", data); err == nil {
			t.Errorf("what is %s is taken for value %d", name, id)
		}
	}
	h := history{byKey: make(map[string][]*deed)}
	first, cut, unknown := h.begin("k", true, false), h.begin("k", true, true), h.begin("k", true, false)
	allows := func(id int64, want bool) {
		t.Helper()
		if got := h.allows("k", id, h.tick()); got != want {
			t.Errorf("value %d is allowed: %v, of %+v", id, got, h.byKey["k"])
		}
	}
	allows(0, true)
	allows(first.id, true) // it may be there already
	h.ended(first, true)
	h.ended(cut, false)
	allows(0, false)
	allows(first.id, true)
	allows(cut.id, false) // never, since it was not sent
	allows(unknown.id, true)
	h.ended(unknown, false)
	removed := h.begin("k", false, false)
	allows(0, true)
	h.ended(removed, true)
	allows(0, true)
	allows(first.id, false)
	allows(unknown.id, false)
}
