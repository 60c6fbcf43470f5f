package model

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/akubra/akubra/internal/testkit/s3mem"
	"github.com/akubra/akubra/synclog/task"
)

// The specification: what was acknowledged, and what has to be at rest.
//
// A deed is what a client did to one aspect of a key. At rest an aspect may be as a deed
// left it if no acknowledged one began after that one was over: for its client where it
// was acknowledged, else when its last leg had ended.

// aspects, of which the first is the object itself: its content and its metadata.
var aspects = []string{"content", "tags", "acl", "retention", "hold"}

// nothing is what an aspect is that is not there; whatever is one that depends on what
// versions a storage has.
const (
	nothing  = ""
	whatever = "*"
)

type deed struct {
	values      []string // it left one of them
	begin, over time.Time
	acked       bool
	done        bool // over is known
	settled     bool // no leg of it is under way
	gone        bool // what it had left was wiped before its client was told
}

// truth is what clients know.
type truth struct {
	stores  []*s3mem.Storage
	manners []s3mem.Manners
	mu      sync.Mutex
	keys    map[string]*known
	copies  map[*write]map[string]*deed // under way: they may find whatever is written to their source meanwhile
}

// known is what is known of one key.
type known struct {
	deeds     map[string][]*deed // by aspect
	purged    []string           // contents of versions that were deleted for good
	versions  bool               // there were writes to versions
	overlaps  bool               // writes overlapped, or their outcome is not known
	disturbed bool               // something was done past the proxy
	rotten    bool               // its content was changed on a disk
	lost      bool               // the last copy is gone, and not by repair
	forgotten bool               // so, when the journal had nothing of the key
	parts     map[string]*deed   // aspects whose last copy is gone so, with the deed that was the newest then
	torn      bool               // another key was folded into it
	wiped     bool               // a bucket that was gone from a storage: that makes it again as the other one has it
}

func newTruth() *truth {
	return &truth{keys: map[string]*known{}, copies: map[*write]map[string]*deed{}}
}

func (t *truth) of(key string) *known {
	k := t.keys[key]
	if k == nil {
		k = &known{deeds: map[string][]*deed{}}
		for _, a := range aspects {
			k.deeds[a] = []*deed{{values: []string{nothing}, acked: true, done: true}}
		}
		if bucket, name, _ := strings.Cut(key, "/"); name == "" && initial[bucket] != "" {
			k.deeds["content"][0].values = []string{initial[bucket]}
		}
		t.keys[key] = k
	}
	return k
}

// initial is what buckets there are when a history begins.
var initial = map[string]string{"b": "a bucket", "v": "a bucket with versions", "l": "a bucket with locks"}

// begin notes that a client does something that sets these aspects.
func (t *truth) begin(key string, set map[string][]string) map[string]*deed {
	t.mu.Lock()
	defer t.mu.Unlock()
	k, deeds := t.of(key), map[string]*deed{}
	k.wiped = false // a client has made it, if anybody
	for a, values := range set {
		for _, d := range k.deeds[a] {
			k.overlaps = k.overlaps || !d.done
		}
		deeds[a] = &deed{values: values, begin: time.Now()}
		k.deeds[a] = append(k.deeds[a], deeds[a])
	}
	for w, copied := range t.copies {
		if w.from == key {
			t.readsLocked(w, copied)
		}
	}
	return deeds
}

// answered notes what the client heard; one that changed nothing is forgotten.
func (t *truth) answered(key string, deeds map[string]*deed, acked, maybe bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.of(key)
	for a, d := range deeds {
		if !acked && !maybe {
			k.deeds[a] = slices.DeleteFunc(k.deeds[a], func(x *deed) bool { return x == d })
			if all := k.deeds[a]; k.parts[a] == d {
				k.parts[a] = all[len(all)-1]
			}
			continue
		}
		k.overlaps = k.overlaps || !acked
		d.acked = acked
		if !acked && t.anyLossy() {
			// Of a write that nobody was told of there may be no more than a lossy storage
			// keeps, and nobody can tell that from what was sent; nor, where it took
			// something away on the other one alone, what that was.
			for _, e := range k.deeds[a] {
				if e == d || permits(d.values, nothing) {
					e.strip(a)
				}
			}
		}
		if acked {
			d.over, d.done = time.Now(), true
			if a == "content" {
				k.lost, k.forgotten = d.gone, d.gone
			}
		}
	}
	t.eatenLocked(key, deeds)
}

// strip adds what a lossy storage keeps of what the deed left.
func (d *deed) strip(aspect string) {
	for _, v := range d.values {
		v, _, _ = strings.Cut(v, " with ")
		if aspect != "content" {
			v = nothing
		}
		if !slices.Contains(d.values, v) {
			d.values = append(d.values, v)
		}
	}
}

// reads notes what a copy may find at its source now, and until it has ended.
func (t *truth) reads(w *write, deeds map[string]*deed) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w.from == "" || deeds["content"].settled {
		return
	}
	t.readsLocked(w, deeds)
	t.copies[w] = deeds
}

func (t *truth) readsLocked(w *write, deeds map[string]*deed) {
	source, copied := t.of(w.from), t.of(name(w.bucket, w.key))
	copied.disturbed = copied.disturbed || source.disturbed // each storage has copied what it had
	add := func(d *deed, v string) {
		if !slices.Contains(d.values, v) {
			d.values = append(d.values, v)
		}
	}
	for _, v := range source.allowed("tags") {
		add(deeds["tags"], v)
	}
	values := source.allowed("content")
	if bucket, key, _ := strings.Cut(w.from, "/"); strings.HasSuffix(key, "/") {
		for i, s := range t.stores { // who keeps no content under such a name has none to copy
			if v := s.Current(bucket, key); t.manners[i].Folders && v != nil && len(v.Body) == 0 {
				add(deeds["content"], content("", w.cache))
			}
		}
	}
	if source.disturbed { // a storage that does not notice copies what there is of it
		bucket, key, _ := strings.Cut(w.from, "/")
		for _, s := range t.stores {
			if v := s.Current(bucket, key); v != nil {
				values = append(values, contentOf(v))
				add(deeds["tags"], valuesOf(v)["tags"])
			}
		}
	}
	for _, v := range values {
		if body, _, _ := strings.Cut(v, " with "); w.cache != "" && v != whatever {
			v = content(body, w.cache)
		}
		if body, _, _ := strings.Cut(v, " with "); body != nothing {
			add(deeds["content"], v)
		}
	}
}

// ended notes that no leg of it is under way any more.
func (t *truth) ended(key string, deeds map[string]*deed) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.copies, func(_ *write, copied map[string]*deed) bool { return copied["content"] == deeds["content"] })
	for _, d := range deeds {
		d.settled = true
		if !d.done {
			d.over, d.done = time.Now(), true
		}
	}
	t.eatenLocked(key, deeds)
}

// tornLocked looks whether a storage that folds names has done the same to another key's object, perhaps the last.
func (t *truth) tornLocked(key string) {
	for other, o := range t.keys {
		if other != key && t.folded(other) == t.folded(key) && !permits(o.allowed("content"), nothing) && !t.held(other, o) {
			o.lost, o.forgotten = true, true
		}
	}
}

// thawed notes that a storage has carried out what it had taken and not answered.
func (t *truth) thawed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key := range t.keys {
		t.tornLocked(key)
	}
}

// eatenLocked looks whether a storage has said yes to what it did not keep, and nobody else
// has it: nobody can tell then.
func (t *truth) eatenLocked(key string, deeds map[string]*deed) {
	k := t.of(key)
	bucket, name, _ := strings.Cut(key, "/")
	t.tornLocked(key)
	for a, d := range deeds {
		if !d.acked || !d.settled || permits(d.values, nothing) {
			continue
		}
		if a == "content" && !t.held(key, k) {
			k.lost, k.forgotten = true, true
		}
		if name == "" {
			continue
		}
		had := func(s *s3mem.Storage) bool { // of this write, and not of one before it
			values, body := valuesOf(s.Current(bucket, name)), deeds["content"]
			return permits(d.values, values[a]) && (body == nil || permits(body.values, values["content"]))
		}
		for i, s := range t.stores {
			if t.manners[i].Lossy && !slices.ContainsFunc(t.stores, had) {
				d.values = append(d.values, valuesOf(s.Current(bucket, name))[a])
			}
		}
	}
}

// held reports whether any storage has what was acknowledged.
func (t *truth) held(key string, k *known) bool {
	return slices.ContainsFunc(t.stores, func(s *s3mem.Storage) bool { return holds(s, key, k) })
}

// isShown reports whether any storage has as its current version a content of which a client was told, rather
// than one that nobody was told of and that may have replaced it. An older version may be of other writes.
func (t *truth) isShown(key string, k *known) bool { return t.shows(key, k.told("content"), "content") }

// landed are the writes of contents that a storage has, and whose clients have no answer yet.
func (k *known) landed(s *s3mem.Storage, key string) (all []*deed) {
	for _, d := range k.deeds["content"] {
		if !d.done && holds(s, key, d.alone()) {
			all = append(all, d)
		}
	}
	return all
}

// alone is a key whose content only one deed has made.
func (d *deed) alone() *known { return &known{deeds: map[string][]*deed{"content": {d}}} }

// told is what clients were told of one aspect.
func (k *known) told(aspect string) *known {
	all := slices.DeleteFunc(slices.Clone(k.deeds[aspect]), func(d *deed) bool { return !d.acked })
	return &known{deeds: map[string][]*deed{aspect: all}}
}

// heldButOld is held for what is about to be compared with what the journal knows: a bucket of the same kind
// may be the one of before its removal where that is owed, or under way.
func (t *truth) heldButOld(key string, k *known, p *pending, removing func(bucket string) uint64) bool {
	bucket, name, _ := strings.Cut(key, "/")
	if name != "" {
		return t.held(key, k)
	}
	old := removing(bucket)
	for i, s := range t.stores {
		if holds(s, key, k) && !owes(p, names[i], "content") && old&(1<<i) == 0 {
			return true
		}
	}
	return false
}

// allowed are the values that an aspect may have.
func (k *known) allowed(aspect string) (values []string) {
	all := k.deeds[aspect]
	for _, d := range all {
		superseded := slices.ContainsFunc(all, func(e *deed) bool {
			return e != d && e.acked && d.done && !e.begin.Before(d.over) && !e.begin.IsZero()
		})
		if !superseded {
			values = append(values, d.values...)
		}
	}
	for i := range values {
		if aspect == "retention" {
			values[i] = unexpired(values[i])
		}
	}
	slices.Sort(values)
	return slices.Compact(values)
}

func permits(allowed []string, value string) bool {
	return slices.Contains(allowed, value) || slices.Contains(allowed, whatever)
}

// valuesOf are the aspects of what a storage has.
func valuesOf(v *s3mem.Version) map[string]string {
	values := map[string]string{}
	for _, a := range aspects {
		values[a] = nothing
	}
	if v == nil {
		return values
	}
	values["content"] = contentOf(v)
	values["tags"] = s3mem.Inside(v.Docs["tagging"], "Value")
	if strings.Contains(v.Docs["acl"], "AllUsers") {
		values["acl"] = "public-read"
	}
	values["retention"] = unexpired(s3mem.Inside(v.Docs["retention"], "RetainUntilDate"))
	if s3mem.Inside(v.Docs["legal-hold"], "Status") == "ON" {
		values["hold"] = "ON"
	}
	return values
}

// unexpired is a retention that still holds: no storage takes one of the past.
func unexpired(until string) string {
	if at, err := time.Parse(time.RFC3339, until); err == nil && at.Before(time.Now()) {
		return nothing
	}
	return until
}

func bucketOf(b *s3mem.Bucket) string {
	switch {
	case b == nil:
		return nothing
	case b.Lock:
		return "a bucket with locks"
	case b.Versioned:
		return "a bucket with versions"
	}
	return "a bucket"
}

func contentOf(v *s3mem.Version) string {
	return content(string(v.Body), v.Header.Get("Cache-Control"))
}

func content(body, cache string) string {
	if cache != "" {
		return body + " with " + cache
	}
	return body
}

// disturb notes that something is about to befall all keys of a storage, or one of them.
// pending are the keys that the journal has, removing the storages that have yet to do a bucket's removal.
func (t *truth) disturb(hit *s3mem.Storage, only string, pending map[string]*pending, removing func(bucket string) uint64, do func(*s3mem.Storage)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for bucket := range initial {
		t.of(bucket + "/")
	}
	had, landed, gone, parts := map[string]bool{}, map[string][]*deed{}, map[string]bool{}, map[string]map[string]bool{}
	for key, k := range t.keys {
		landed[key] = k.landed(hit, key)
		had[key], gone[key], parts[key] = holds(hit, key, k), t.isGone(key, k), map[string]bool{}
		for _, a := range aspects[1:] {
			parts[key][a] = t.shows(key, k.told(a), a)
		}
	}
	do(hit)
	for key, k := range t.keys {
		if only != "" && key != only {
			continue
		}
		k.disturbed = true
		k.rotten = k.rotten || only != ""
		if bucket, name, _ := strings.Cut(key, "/"); name == "" {
			k.wiped = hit.Bucket(bucket) == nil
		}
		if had[key] && !t.heldButOld(key, k, pending[key], removing) {
			// Of a content that all had taken the journal knows no more. Where a lossy storage
			// had taken it, what there is of it is what that one keeps.
			k.lost, k.forgotten = true, pending[key] == nil || pending[key].Of(task.Content) == nil || t.anyLossy()
		}
		for _, d := range landed[key] {
			d.gone = d.gone || !t.held(key, d.alone())
		}
		if gone[key] && !t.isGone(key, k) { // so it is with a delete
			k.forgotten = k.forgotten || pending[key] == nil || pending[key].Of(task.Content) == nil
		}
		for _, a := range aspects[1:] {
			// Tags and the like that a lossy storage has said yes to were on this one alone. Of a lock
			// that nobody shows nobody is told (CONTRACT.md, "Not kept yet").
			if parts[key][a] && !t.shows(key, k.told(a), a) && (!owesPart(pending[key], a) || isLock(a) && t.anyLossy()) || t.isBack(hit, key, k, a) && !(a == "tags" && untagged(pending[key])) {
				if k.parts == nil {
					k.parts = map[string]*deed{}
				}
				k.parts[a] = k.deeds[a][len(k.deeds[a])-1]
			}
		}
		bucket, name, _ := strings.Cut(key, "/")
		noMD5 := slices.ContainsFunc(t.manners, func(m s3mem.Manners) bool { return m.OwnETags }) // so repair goes by none (R18)
		if v := hit.Current(bucket, name); only != "" && v != nil && (noMD5 || len(v.Parts) > 0 && !slices.ContainsFunc(t.stores, func(s *s3mem.Storage) bool { return s != hit && holds(s, key, k) })) {
			k.lost, k.forgotten = true, true // the ETag of parts is no MD5 of it
		}
	}
}

func isLock(aspect string) bool { return aspect == "retention" || aspect == "hold" }

func (t *truth) anyLossy() bool {
	return slices.ContainsFunc(t.manners, func(m s3mem.Manners) bool { return m.Lossy })
}

// shows reports whether any storage has a part as it was acknowledged; true where there may
// be none.
func (t *truth) shows(key string, k *known, aspect string) bool {
	allowed := k.allowed(aspect)
	bucket, name, _ := strings.Cut(key, "/")
	return permits(allowed, nothing) || slices.ContainsFunc(t.stores, func(s *s3mem.Storage) bool {
		return permits(allowed, valuesOf(s.Current(bucket, name))[aspect])
	})
}

// isGone reports whether a key may be deleted, and is on a storage.
func (t *truth) isGone(key string, k *known) bool {
	bucket, name, _ := strings.Cut(key, "/")
	return name != "" && permits(k.told("content").allowed("content"), nothing) &&
		slices.ContainsFunc(t.stores, func(s *s3mem.Storage) bool { return s.Current(bucket, name) == nil })
}

// isBack reports whether a storage has an object whose part is another one than was acknowledged: what that
// was the journal does not know, but that it was taken away.
func (t *truth) isBack(s *s3mem.Storage, key string, k *known, aspect string) bool {
	bucket, name, _ := strings.Cut(key, "/")
	v := s.Current(bucket, name)
	return name != "" && v != nil && !permits(k.allowed(aspect), valuesOf(v)[aspect])
}

// untagged reports whether the journal knows that the tags were taken away.
func untagged(t *pending) bool {
	return t != nil && slices.ContainsFunc(t.Writes, func(w task.Write) bool { return w.Aspect == task.Tags && w.Method == "DELETE" })
}

// owesPart reports whether the journal has anything of an aspect, or of the content, which
// goes for all.
func owesPart(t *pending, aspect string) bool {
	return t != nil && slices.ContainsFunc(slices.Concat(t.Writes, t.Rivals), func(w task.Write) bool {
		return w.Aspect == task.Content || partOf[w.Aspect] == aspect
	})
}

var partOf = map[task.Aspect]string{task.Tags: "tags", task.ACL: "acl", task.Retention: "retention", task.LegalHold: "hold"}

// holds reports whether a storage has what was acknowledged of a key, as its current
// version or as an older one.
func holds(s *s3mem.Storage, key string, k *known) bool {
	bucket, name, _ := strings.Cut(key, "/")
	allowed := k.allowed("content")
	if name == "" {
		return permits(allowed, bucketOf(s.Bucket(bucket)))
	}
	return slices.ContainsFunc(s.Versions(bucket, name), func(v *s3mem.Version) bool {
		return !v.Marker && permits(allowed, contentOf(v))
	})
}

// found is one thing at rest that is not as it has to be.
type found struct{ key, what string }

// check compares what storages have at rest with what was acknowledged. parked are the
// keys that are parked, with the reason.
func (t *truth) check(parked map[string]string) (wrong []found) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(t.keys)) {
		k := t.keys[key]
		say := func(format string, args ...any) { wrong = append(wrong, found{key, fmt.Sprintf(format, args...)}) }
		if allowed := k.allowed("content"); !k.lost && !permits(allowed, nothing) &&
			!t.held(key, k) {
			say("destroyed: no storage has %q any more", allowed)
		}
		if reason, is := parked[key]; is {
			if _, name, _ := strings.Cut(key, "/"); !t.isTrue(reason, key, k) && (name != "" || reason == "failed") {
				say("parked as %q, which is not true", reason)
			}
			continue
		}
		bucket, name, _ := strings.Cut(key, "/")
		if t.staysOld(bucket, parked) {
			continue
		}
		if k.wiped {
			if a, b := bucketOf(t.stores[0].Bucket(bucket)), bucketOf(t.stores[1].Bucket(bucket)); a != b && a != nothing && b != nothing && !t.anyLossy() {
				say("A has %s, and B %s", a, b)
			}
		}
		if k.forgotten || t.folds(key) || name == "" && k.disturbed {
			continue // nobody can know
		}
		var first map[string]string
		for i, s := range t.stores {
			values := valuesOf(s.Current(bucket, name))
			if name == "" {
				values["content"] = bucketOf(s.Bucket(bucket))
			}
			for _, a := range aspects {
				if k.parts[a] != nil && k.parts[a] == k.deeds[a][len(k.deeds[a])-1] {
					continue // nobody can know
				}
				if a != "content" && values["content"] == nothing || t.manners[i].Lossy && (a == "tags" || a == "retention" || a == "hold") {
					continue
				}
				if allowed := k.allowed(a); !permits(allowed, values[a]) && !lossyContent(t.manners[i], allowed, values[a], a) {
					say("%s has %s %q, of %q", s.Name, a, values[a], allowed)
				} else if first != nil && first[a] != values[a] && !t.manners[i].Lossy && !t.manners[0].Lossy {
					say("%s has %s %q, and the other one %q", s.Name, a, values[a], first[a])
				}
			}
			if first == nil {
				first = values
			}
			for _, v := range s.Versions(bucket, name) {
				if !v.Marker && slices.Contains(k.purged, contentOf(v)) {
					say("%s has %q, a version that was deleted for good", s.Name, contentOf(v))
				}
			}
		}
	}
	return wrong
}

// unowed gives what a backend lacks without owing it (R20). Nobody writes now.
//
// Of an aspect it has to be owed by a write of that aspect, or by one that may have changed
// them all.
func (t *truth) unowed(pending map[string]*pending) (wrong []found) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if slices.ContainsFunc(t.manners, odd) {
		return nil // what they do to an object nobody can tell from its answer
	}
	for key, k := range t.keys {
		bucket, name, _ := strings.Cut(key, "/")
		for i, s := range t.stores {
			if k.disturbed || name == "" {
				continue
			}
			values := valuesOf(s.Current(bucket, name))
			for _, a := range aspects {
				if a != "content" && values["content"] == nothing {
					continue
				}
				if allowed := k.allowed(a); !permits(allowed, values[a]) && !owes(pending[key], names[i], a) {
					wrong = append(wrong, found{key, fmt.Sprintf("%s has %s %q, of %q, and owes nothing", s.Name, a, values[a], allowed)})
				}
			}
		}
	}
	return wrong
}

// owes reports whether a backend owes an aspect, by what the journal knows of a key.
func owes(t *pending, backend, aspect string) bool {
	if t == nil {
		return false
	}
	for _, w := range slices.Concat(t.Writes, t.Rivals) {
		of := partOf[w.Aspect]
		if slices.Contains(w.Owed, backend) && (of == aspect || of == "") {
			return true
		}
	}
	return false
}

// folded is what a storage that folds names takes a key for.
func (t *truth) folded(key string) string {
	if slices.ContainsFunc(t.manners, func(m s3mem.Manners) bool { return m.Folds }) {
		return strings.ReplaceAll(key, "//", "/")
	}
	return key
}

// folds reports whether a storage takes the key's name and another one's for the same.
func (t *truth) folds(key string) bool {
	for other := range t.keys {
		if other != key && t.folded(other) == t.folded(key) {
			return true
		}
	}
	return t.folded(key) != key
}

// lossyContent: a lossy storage has the content without its metadata.
func lossyContent(m s3mem.Manners, allowed []string, value, aspect string) bool {
	return m.Lossy && aspect == "content" && slices.ContainsFunc(allowed, func(a string) bool {
		body, _, _ := strings.Cut(a, " with ")
		return body == value
	})
}

// odd reports whether a storage keeps something else than it was given.
func odd(m s3mem.Manners) bool { return m.Lossy || m.Folders || m.Folds }

// isTrue reports whether a key may be parked for this reason.
func (t *truth) isTrue(reason, key string, k *known) bool {
	odd := slices.ContainsFunc(t.manners, odd)
	switch reason {
	case "lost":
		return k.lost || odd || k.disturbed && !t.isShown(key, k)
	case "conflict":
		return k.disturbed || k.overlaps || k.versions || odd
	case "damaged":
		return k.rotten || odd
	case "not kept":
		return odd || k.torn || k.disturbed && k.locked() // of a lock it cannot be told from what was restored
	case "needs a person":
		return k.versions || k.overlaps || k.disturbed
	}
	// "failed": of what a backend has in a bucket under a name that the one which decided its removal folds with another
	// one nobody knows. Else every storage is well now.
	_, name, _ := strings.Cut(key, "/")
	return name == "" && (k.disturbed || slices.ContainsFunc(t.manners, func(m s3mem.Manners) bool { return m.Folds }))
}

// locked reports whether a client was told of a lock.
func (k *known) locked() bool {
	return slices.ContainsFunc(slices.Concat(k.deeds["retention"], k.deeds["hold"]), func(d *deed) bool { return d.acked && !permits(d.values, nothing) })
}

// staysOld reports whether a bucket's removal is left to a person, so that nothing in it is repaired: it cannot be removed
// where something is in it that the journal knows nothing of, since who decided its removal was changed past the proxy, and
// had nothing in it; or it has come back past the proxy where it was removed.
func (t *truth) staysOld(bucket string, parked map[string]string) bool {
	reason, k := parked[bucket+"/"], t.of(bucket+"/")
	return reason == "failed" && t.isTrue(reason, bucket+"/", k) || reason == "conflict" && k.disturbed && permits(k.allowed("content"), nothing)
}

func (t *truth) String() string {
	var b strings.Builder
	for key, k := range t.keys {
		for _, a := range aspects {
			for _, d := range k.deeds[a] {
				if len(k.deeds[a]) > 1 {
					fmt.Fprintf(&b, "%s %s %q acked=%t %s\n", key, a, d.values, d.acked, d.begin.Format("15:04:05.000"))
				}
			}
		}
	}
	lines := strings.Split(b.String(), "\n")
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

// versions notes that a client writes to a version of a key.
func (t *truth) versions(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.of(key).versions = true
}

// purge notes that a version was deleted for good.
func (t *truth) purge(key, content string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.of(key)
	k.purged = append(k.purged, content)
}

// removed notes that a bucket was removed, with nothing in it.
func (t *truth) removed(bucket string) {
	for _, key := range slices.Sorted(maps.Keys(t.keys)) {
		if name, ok := strings.CutPrefix(key, bucket+"/"); ok && name != "" {
			deeds := t.begin(key, allOf(nothing))
			t.answered(key, deeds, true, true)
			t.ended(key, deeds)
		}
	}
}
