package repair

import "strings"

// fullest is the source of a write among those that took it and show it: one that has
// metadata, tags or a lock that the first one lacks, for that one may drop them, which
// nobody has noticed yet. Not where another write has left the same bytes: then what is
// more may be that one's.
func fullest(c *claim, source int, claims []*claim, views []view) int {
	for i := range views {
		if !has(c.said, i) || !c.shownBy(i, &views[i]) || !views[i].keepsMore(&views[source]) {
			continue
		}
		alone := true
		for _, other := range claims {
			alone = alone && (other == c || !other.shownBy(i, &views[i]))
		}
		if alone {
			source = i
		}
	}
	return source
}

// keepsMore reports whether a view has metadata that another one of the same content lacks,
// and lacks nothing of it: the other backend may have dropped it.
func (v *view) keepsMore(o *view) bool {
	return v.sameContent(o) && v.hasAllNamesOf(o) && !o.hasAllNamesOf(v)
}

func (v *view) hasAllNamesOf(o *view) bool {
	for line := range strings.Lines(o.meta) {
		if name, _, _ := strings.Cut(line, ":"); !v.hasName(name) {
			return false
		}
	}
	return true
}
