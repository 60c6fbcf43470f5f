package repair

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// presence is what a backend says of a key.
type presence uint8

const (
	unknown presence = iota // it gave no answer, or is not asked
	absent
	present
)

// view is what one backend shows of a key.
type view struct {
	is   presence
	etag string // without quotes
	size int64
	// meta is the metadata, a line for each, and what belongs to an object beside it.
	meta string
	// lossy: it is known not to keep some of it, and so never the source of it. invents: it
	// makes up a Content-Type where none was sent.
	lossy   func(name string) bool
	invents bool
	// content, unless 0, stands for content that was compared: two views with the same
	// number have the same, with other ones have not, whatever their ETags.
	content  int
	damaged  bool      // its content is not what its ETag or the acknowledged size says
	folded   bool      // it shows another key's object under this name
	refused  string    // what it was given in this run and has not kept
	modified time.Time // by its own clock; for OnConflict alone
}

// same reports whether two backends have the same object.
func (v *view) same(o *view) bool {
	if v.is != o.is {
		return false
	}
	return v.is != present || v.sameContent(o) && v.metaBut(o) == ""
}

func (v *view) sameContent(o *view) bool {
	switch {
	case v.damaged || o.damaged || v.folded || o.folded || v.size != o.size:
		return false
	case v.content != 0 && o.content != 0:
		return v.content == o.content
	}
	return v.etag == o.etag
}

// metaBut is the first name of metadata that two views differ in; "" where there is none.
func (v *view) metaBut(o *view) string {
	if v.meta == o.meta {
		return ""
	}
	for _, pair := range [2][2]*view{{v, o}, {o, v}} {
		for line := range strings.Lines(pair[0].meta) {
			name, _, _ := strings.Cut(line, ":")
			made := name == headerType && pair[0].invents && !pair[1].hasName(name)
			if !pair[1].hasLine(line) && !made {
				return name
			}
		}
	}
	return ""
}

const headerType = "Content-Type"

func (v *view) loses(name string) bool { return v.lossy != nil && v.lossy(name) }

func (v *view) hasName(name string) bool { return strings.Contains("\n"+v.meta, "\n"+name+":") }

func (v *view) hasLine(line string) bool {
	for l := range strings.Lines(v.meta) {
		if l == line {
			return true
		}
	}
	return false
}

// claim is a write as the plan knows it, by the backends' bits.
type claim struct {
	seq uint64
	del bool
	// clears: of a sub-resource, the write was a DELETE of it.
	clears bool
	etag   string
	etags  []string // by backend, where one answered with another; may be nil
	size   int64    // 0: not known
	// said are those that answered that they took it; took are those of them that owe
	// nothing of it.
	said, took, owed uint64
	acked            bool
	any              bool // of unknown outcome, and it is not known what it was
	overlapped       bool
	overlapKnown     bool // and all that it overlapped with are known
	carried          task.Carried
}

func has(set uint64, i int) bool { return set&(1<<i) != 0 }

// etagAt is the ETag that a backend shows for the write, "" where that is not known.
func (c *claim) etagAt(i int) string {
	if i < len(c.etags) && c.etags[i] != "" {
		return c.etags[i]
	}
	return c.etag
}

// shownBy reports whether a backend shows what the write has left.
func (c *claim) shownBy(i int, v *view) bool {
	switch {
	case c.del:
		return v.is == absent || v.is == present && v.folded
	case v.is != present || v.damaged || v.folded:
		return false
	case c.etagAt(i) == "":
		return has(c.took, i) && !has(c.owed, i)
	}
	return v.etag == c.etagAt(i) && (c.size == 0 || v.size == c.size)
}

// certain reports whether what a backend shows is the write, as far as can be known now. A backend that
// owes it may show the same content from before, with other metadata, as after a copy of an object onto
// itself. Only a backend that acknowledged the write is certain.
func (c *claim) certain(i int, views []view) bool {
	if has(c.said, i) || !has(c.owed, i) {
		return true
	}
	for j := range views {
		if has(c.said, j) && views[j].is == unknown {
			return false
		}
	}
	return true
}

// knowledge is what is known of a key's content.
type knowledge struct {
	stands *claim  // nil: no acknowledged write is known
	rivals []claim // may have landed after it
	// past are acknowledged writes that come before what stands, and whose legs were out when
	// that began: a backend that shows one had it late. None of them is ever right again.
	past []claim
	lost bool // there were more rivals than are known
	// own: backends have ETags of their own, so that one does not tell what another one has.
	own  bool
	blur bool // stands overlapped with a write of which nothing is known
	// mixed: none of the acknowledged writes that stands overlapped with is known to be to the content. They may be
	// to its parts and versions, which come and go with it.
	mixed bool
	// crossed: a write to a part began before stands, and ended after it had begun: it may have come behind it on some
	// backends, and have failed or gone on others.
	crossed bool
	// crowded: it overlapped with others, of which some may not be known, or not what they have left.
	crowded bool
	tagged  bool   // there were writes of its tags alone since
	found   *claim // a difference that verify has found: who is not right; may be nil
	// unmade: what was put was taken away by deletes of its versions.
	unmade bool
	// revised are the backends where a version was deleted after stands began, or may have been,
	// so that another one may be the current one there.
	revised uint64
}

// doubtful reports whether it takes all backends to know what may be closed.
func (k *knowledge) doubtful() bool {
	return k.stands == nil || k.stands.overlapped || len(k.rivals) > 0 || k.lost
}

// isPast reports whether a backend shows a write of the proxy's own that what stands has replaced: the
// backend is behind, and nobody has changed the object past the proxy.
func (k *knowledge) isPast(i int, v *view) bool {
	for j := range k.past {
		if k.past[j].shownBy(i, v) {
			return true
		}
	}
	return false
}

// owes reports whether a backend may lack any of the writes.
func (k *knowledge) owes(i int) bool {
	if k.stands != nil && has(k.stands.owed, i) {
		return true
	}
	for j := range k.rivals {
		if has(k.rivals[j].owed, i) {
			return true
		}
	}
	return false
}

// lacked reports whether a backend has not taken the object as it stands.
func (k *knowledge) lacked(i int) bool { return k.stands != nil && has(k.stands.owed, i) }

func deletes(claims []*claim) bool {
	for _, c := range claims {
		if c.del || c.any { // what was in flight when the proxy died may be a delete
			return true
		}
	}
	return false
}

// vague reports whether the write that landed last may be one whose result is not known.
func (k *knowledge) vague() bool {
	for i := range k.rivals {
		if c := &k.rivals[i]; c.any || !c.acked && !c.del && c.etag == "" {
			return true
		}
	}
	return k.lost || k.blur || k.crowded
}

// showsWhich reports whether what a backend shows tells which of the acknowledged writes it has.
func (k *knowledge) showsWhich() bool {
	nameless := func(c claim) bool { return c.acked && !c.del && c.etag == "" }
	return !nameless(*k.stands) && !slices.ContainsFunc(k.rivals, nameless)
}

func unseen(views []view) (n int) {
	for i := range views {
		if views[i].is == unknown {
			n++
		}
	}
	return n
}

func firstPresent(views []view) int {
	for i := range views {
		if views[i].is == present {
			return i
		}
	}
	return -1
}

// byVersions reports whether the current version has to be found among all versions: a backend that has
// what stands shows another one, because a version was deleted there.
func (k *knowledge) byVersions(views []view) bool {
	for i := range views {
		had := k.stands != nil && (has(k.stands.said, i) || !has(k.stands.owed, i)) // also where its order is in doubt
		if had && has(k.revised, i) && views[i].is != unknown && !k.stands.shownBy(i, &views[i]) {
			return true
		}
	}
	return false
}

// bits are the backends of these names.
func (r *Repairer) bits(names []string) (set uint64) {
	for _, name := range names {
		if i, known := r.index[name]; known {
			set |= 1 << i
		}
	}
	return set
}

func (r *Repairer) claimOf(w *task.Write) claim {
	c := claim{
		seq: w.Seq, del: w.Delete() || w.Aspect == task.Content && w.Method == http.MethodPost && hasParam(queryOf(w.Target), "delete"),
		etag: strings.Trim(w.ETag, `"`), size: w.Size, took: r.bits(w.Took), owed: r.bits(w.Owed),
		acked: !w.Unacknowledged, overlapped: w.Overlapped, overlapKnown: w.OverlapKnown, carried: w.Carried, any: w.Unacknowledged && w.Method == "",
	}
	c.clears = w.Aspect != task.Content && w.Method == http.MethodDelete
	c.said = c.took
	c.took &^= c.owed
	if c.del {
		c.etag, c.size = "", 0
	}
	for name, etag := range w.ETags {
		if i, known := r.index[name]; known {
			if c.etags == nil {
				c.etags = make([]string, len(r.backends))
			}
			c.etags[i] = strings.Trim(etag, `"`)
		}
	}
	return c
}

// knowledgeOf is what a task tells of the content.
func (r *Repairer) knowledgeOf(t *task.Task) *knowledge {
	k := &knowledge{lost: t.RivalsLost, own: r.o.IgnoreETags || slices.ContainsFunc(r.backends, func(b *backend) bool { return b.opaque.Load() })}
	if w := t.Of(task.Content); w != nil {
		c := r.claimOf(w)
		k.stands = &c
	}
	removal := removalOf(t) // which repair does first, and apart
	for i := range t.Rivals {
		switch w := &t.Rivals[i]; {
		case w.Aspect != task.Content, w == removal:
		case k.stands != nil && !w.Unacknowledged && w.Answered != 0 && w.Answered <= k.stands.seq:
			// It comes before what stands (R19). A backend that gave no answer may take it
			// late, over what stands.
			c := r.claimOf(w)
			k.stands.owed |= c.owed &^ c.said
			k.stands.took &^= k.stands.owed
			k.past = append(k.past, c)
		case k.stands == nil || !w.Unacknowledged || w.Seq > k.stands.seq || k.stands.overlapped:
			k.rivals = append(k.rivals, r.claimOf(w))
		}
	}
	behind := removal != nil && removal != t.Of(task.Content)
	// One that another acknowledged write overlapped which is not known, since the process
	// ended before it was told of: nobody knows what landed last. So it is where an ETag is not known.
	overlapped := k.stands != nil && k.stands.overlapped && len(k.past) == 0 && !behind
	k.crowded = overlapped && !(k.stands.overlapKnown && k.showsWhich())
	k.mixed = overlapped && !slices.ContainsFunc(k.rivals, func(c claim) bool { return c.acked })
	k.blur = k.crowded && k.mixed
	k.crossed = k.stands != nil && crossed(t)
	if w := t.Of(task.Found); w != nil && (k.stands == nil || w.Seq > k.stands.seq) {
		c := r.claimOf(w)
		k.found = &c
	}
	k.unmade = unmade(t)
	for w := range t.All() {
		if w.Aspect == task.Version && deletesVersion(w) && (k.stands == nil || w.Seq > k.stands.seq) {
			c := r.claimOf(w)
			k.revised |= c.said | c.owed // who owes it may have done it without an answer
		}
	}
	return k
}

func crossed(t *task.Task) bool {
	content := t.Of(task.Content)
	for w := range t.All() {
		if w.Aspect >= task.Tags && w.Aspect <= task.LegalHold && w.Seq < content.Seq && w.Settled > content.Seq {
			return true
		}
	}
	return false
}

// partsOf are the writes to subresources that no newer write to the content has removed together with
// the old object.
func partsOf(t *task.Task) (parts []*task.Write) {
	content := t.Of(task.Content)
	for i := range t.Writes {
		w := &t.Writes[i]
		if w.Aspect < task.Tags || w.Aspect > task.LegalHold || content != nil && content.Seq > w.Seq {
			continue
		}
		parts = append(parts, w)
	}
	// A rival is all that is known of a part where nothing acknowledged is.
	for i := range t.Rivals {
		w := &t.Rivals[i]
		if w.Aspect < task.Tags || w.Aspect > task.LegalHold || content != nil && content.Seq > w.Seq ||
			slices.ContainsFunc(parts, func(p *task.Write) bool { return p.Aspect == w.Aspect }) {
			continue
		}
		parts = append(parts, w)
	}
	return parts
}

// partNames are the sub-resources of objects that are carried over, by aspect.
var partNames = map[task.Aspect]string{task.Tags: "tagging", task.ACL: "acl", task.Retention: "retention", task.LegalHold: "legal-hold"}

// versionsOf are the writes to versions.
func versionsOf(t *task.Task) (writes []*task.Write) {
	for i := range t.Writes {
		if t.Writes[i].Aspect == task.Version {
			writes = append(writes, &t.Writes[i])
		}
	}
	for i := range t.Rivals {
		if t.Rivals[i].Aspect == task.Version {
			writes = append(writes, &t.Rivals[i])
		}
	}
	return writes
}

func unixNano(ns uint64) time.Time { return time.Unix(0, int64(ns)) } //nolint:gosec // until 2262
