package journal

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// model is what a journal is to remember, in plain maps.
type model struct {
	keys map[string]*modelKey
	open map[uint64]Entry
	mine uint64
}

// modelKey is what was acknowledged of one key, by aspect (R35).
type modelKey struct {
	stands map[string]Entry   // by aspect, and target where each is one of its own
	rivals map[string][]Entry // of the same
	first  uint64
	note   task.Task
}

func newModel() *model {
	return &model{keys: map[string]*modelKey{}, open: map[uint64]Entry{}, mine: 7}
}

func aspectName(e *Entry) string {
	if e.Aspect == task.Version || e.Aspect == task.Setting {
		return fmt.Sprint(e.Aspect, string(e.Target))
	}
	return fmt.Sprint(e.Aspect)
}

func (m *model) flying(key string) (n int) {
	for _, e := range m.open {
		if string(e.Key) == key {
			n++
		}
	}
	return n
}

func (k *modelKey) owed() (owed uint64) {
	for _, e := range k.stands {
		owed |= e.Owed
	}
	for _, es := range k.rivals {
		for _, e := range es {
			owed |= e.Owed
		}
	}
	return owed
}

// lacks are the backends that a GET must not ask.
func (k *modelKey) lacks() (lacks uint64) {
	for _, e := range k.stands {
		if e.Aspect == task.Content || e.Aspect == task.Version {
			lacks |= lacksOf(e)
		}
	}
	// What may be there of a write that was replaced, or that nobody was told of and nobody has
	// confirmed, is not to be seen, unless it may be everywhere.
	var late uint64
	for name, es := range k.rivals {
		s, stands := k.stands[name]
		for _, e := range es {
			past := !e.Unacknowledged && stands && e.Answered != 0 && e.Answered <= s.Seq
			if undecided := e.Unacknowledged && e.Took&^e.Owed == 0; e.Aspect == task.Content && (past || undecided) {
				late |= e.Owed &^ e.Took
			}
		}
	}
	if (lacks|late)&7 != 7 {
		lacks |= late
	}
	return lacks
}

// lacksOf: on who took the write and owes it an older one may land late. That is no matter
// where nobody else is sure of it either.
func lacksOf(e Entry) uint64 {
	if sure := e.Took &^ e.Owed; sure != 0 {
		return e.Owed
	}
	return e.Owed &^ e.Took
}

// end takes in a write whose legs have ended just now.
func (m *model) end(e Entry, now uint64) {
	name := string(e.Key)
	k := m.keys[name]
	if k == nil {
		older := false
		for _, o := range m.open {
			older = older || string(o.Key) == name && (o.Seq < e.Seq || e.Overlapped)
		}
		if e.Owed == 0 && !older {
			return
		}
		k = &modelKey{stands: map[string]Entry{}, rivals: map[string][]Entry{}}
		m.keys[name] = k
	}
	e.Settled = now
	before, owed := k.owed(), e.Owed
	a := aspectName(&e)
	s, stood := k.stands[a]
	switch {
	case stood && e.Seq < s.Seq && gone(&s, &e):
		s.Owed |= e.Owed | e.Took
		k.stands[a] = s
	case e.Unacknowledged, stood && e.Seq < s.Seq:
		// Its last leg ended after whatever stands began.
		if stood && !e.Unacknowledged {
			s.OverlapKnown = s.OverlapKnown || !s.Overlapped
			s.Overlapped = true
			k.stands[a] = s
		}
		k.add(e)
	default:
		var past uint64
		if stood && gone(&e, &s) {
			e.Owed |= s.Owed | s.Took
		} else if stood && s.Settled > e.Seq {
			e.OverlapKnown = e.OverlapKnown || !e.Overlapped
			e.Overlapped = true
			delete(k.stands, a)
			k.add(s)
		} else if stood {
			past = s.Owed
		}
		var left []Entry
		for _, r := range k.rivals[a] {
			if gone(&e, &r) {
				e.Owed |= r.Owed | r.Took
			} else if r.Settled > e.Seq {
				left = append(left, r)
				e.OverlapKnown = e.OverlapKnown || !e.Overlapped && !r.Unacknowledged
				e.Overlapped = e.Overlapped || !r.Unacknowledged
			} else {
				past |= r.Owed
			}
		}
		k.rivals[a] = left
		if e.Owed == 0 {
			e.Owed = past
		} else if len(e.ETag) > 0 || e.Method == "DELETE" {
			e.Owed |= past & e.Took
		}
		if e.Aspect == task.Version {
			e.Owed |= past
		}
		k.stands[a] = e
	}
	switch {
	case k.owed() == 0 || before == 0:
		k.first = e.Seq
	case owed != 0:
		k.first = min(k.first, e.Seq)
	}
	k.note = task.Task{}
	m.tidy(name)
}

// add takes in a rival. Of more than maxRivals the oldest one goes that there is a newer one of its aspect
// of, and that is owed what it was; else the oldest one of all, for what stands.
func (k *modelKey) add(e Entry) {
	a := aspectName(&e)
	k.rivals[a] = append(k.rivals[a], e)
	var all []*Entry
	for _, es := range k.rivals {
		for i := range es {
			all = append(all, &es[i])
		}
	}
	if len(all) <= maxRivals {
		return
	}
	oldestFirst := func(x, y *Entry) int { return cmp.Compare(x.Seq, y.Seq) }
	slices.SortFunc(all, oldestFirst)
	drop, heir := all[0], (*Entry)(nil)
	for i := 0; i < len(all) && heir == nil; i++ {
		for _, newer := range all[i+1:] {
			if heir == nil && newer.Aspect == all[i].Aspect {
				drop, heir = all[i], newer
			}
		}
	}
	if heir != nil {
		heir.Owed |= drop.Owed
	} else {
		oldest := ""
		for name, s := range k.stands {
			if oldest == "" || s.Seq < k.stands[oldest].Seq {
				oldest = name
			}
		}
		if s, ok := k.stands[oldest]; ok {
			s.Owed |= drop.Owed
			k.stands[oldest] = s
		}
	}
	name, seq := aspectName(drop), drop.Seq
	k.rivals[name] = slices.DeleteFunc(k.rivals[name], func(r Entry) bool { return r.Seq == seq })
}

// gone reports whether a delete took away what a write has put that it overlapped: it began
// when that one had been acknowledged.
func gone(e, older *Entry) bool {
	return e.Method == "DELETE" && e.Aspect == task.Content && !e.Unacknowledged && !older.Unacknowledged &&
		older.Answered != 0 && older.Answered < e.Seq && older.Settled > e.Seq
}

func (m *model) tidy(name string) {
	if k := m.keys[name]; k != nil && k.owed() == 0 && m.flying(name) == 0 {
		delete(m.keys, name)
	}
}

func (m *model) settle(seq, owed, took, now uint64) {
	e := m.open[seq]
	delete(m.open, seq)
	e.Owed, e.Took, e.Open = owed, took, false
	m.end(e, now)
}

// crash ends the intents with an unknown outcome.
func (m *model) crash(now func() uint64) {
	for _, seq := range slices.Sorted(maps.Keys(m.open)) {
		m.settle(seq, m.open[seq].Owed, m.open[seq].Took, now())
	}
	for name := range maps.Clone(m.keys) { // what stood only beside intents
		m.tidy(name)
	}
}

// pending is one line a key: what Next is to give, in any order.
func (m *model) pending() (lines []string) {
	for name, k := range m.keys {
		if k.owed() == 0 || m.flying(name) > 0 {
			continue
		}
		var writes, rivals []string
		for _, e := range k.stands {
			writes = append(writes, entryLine(&e))
		}
		for _, es := range k.rivals {
			for i := range es {
				rivals = append(rivals, entryLine(&es[i]))
			}
		}
		lines = append(lines, line(name, writes, rivals, k.first, &k.note))
	}
	slices.Sort(lines)
	return lines
}

func entryLine(e *Entry) string {
	return fmt.Sprintf("%d %s %s %d %b/%b %v/%v %v", e.Aspect, e.Method, e.ETag, e.Seq, e.Owed, e.Took, e.Overlapped, e.Overlapped && e.OverlapKnown, e.Unacknowledged)
}

func line(key string, writes, rivals []string, first uint64, note *task.Task) string {
	slices.Sort(writes)
	slices.Sort(rivals)
	return fmt.Sprintf("%s [%s] [%s] first %d tries %d parked %q %q", key, strings.Join(writes, "; "), strings.Join(rivals, "; "), first,
		note.Tries, note.Parked, note.LastError)
}

func (r *rig) linesOf(ps []task.Task) (lines []string) {
	for i := range ps {
		p := &ps[i]
		var sides [2][]string
		for n, ws := range [2][]task.Write{p.Writes, p.Rivals} {
			for k := range ws {
				w := &ws[k]
				sides[n] = append(sides[n], entryLine(&Entry{
					Aspect: w.Aspect, Method: w.Method, ETag: []byte(w.ETag), Seq: w.Seq, Owed: maskOf(w.Owed, r.o.Backends),
					Took: maskOf(w.Took, r.o.Backends), Overlapped: w.Overlapped, OverlapKnown: w.OverlapKnown, Unacknowledged: w.Unacknowledged,
				}))
			}
		}
		lines = append(lines, line(p.Key, sides[0], sides[1], p.First, p))
	}
	slices.Sort(lines)
	return lines
}

// modelRun does random things to a journal and to the model.
type modelRun struct {
	*rig
	m      *model
	chance *rand.Rand
	keys   int
	// ends are the spans, ascending, in each of which writes have ended: the journal knows
	// when, the model only that it was between the two.
	ends [][2]uint64
}

func newModelRun(t testing.TB, o Options, seed uint64, keys int) *modelRun {
	return &modelRun{rig: newRig(t, o), m: newModel(), chance: rand.New(rand.NewPCG(seed, 1)), keys: keys}
}

func (r *modelRun) entry() Entry {
	e := put(fmt.Sprintf("key%d", r.chance.IntN(r.keys)), r.chance.Uint64N(8))
	e.Method = []string{"PUT", "DELETE", "POST"}[r.chance.IntN(3)]
	e.ETag = fmt.Appendf(nil, "%x", r.chance.Uint64())
	e.Aspect = []task.Aspect{task.Content, task.Content, task.Content, task.Tags, task.ACL, task.Retention, task.LegalHold, task.Version}[r.chance.IntN(8)]
	e.Target = []byte("/b/" + string(e.Key))
	switch {
	case e.Aspect == task.Version:
		e.Target = fmt.Appendf(e.Target, "?versionId=%d", r.chance.IntN(3))
	case r.chance.IntN(4) == 0:
		e.Target = make([]byte, r.chance.IntN(200))
	}
	e.Open = r.chance.IntN(3) == 0
	e.Unacknowledged = r.chance.IntN(8) == 0
	e.Overlapped, e.OverlapKnown = r.chance.IntN(8) == 0, !e.Open && r.chance.IntN(2) == 0
	e.Took = 7 &^ e.Owed
	if r.chance.IntN(8) == 0 {
		e.Took = 7
	}
	if r.chance.IntN(4) == 0 {
		e.Owed = 0
	}
	if r.chance.IntN(4) == 0 { // came late
		e.Seq = r.late()
	}
	return e
}

// late is a place in the order of writes before now. It is in no span of ends: whether
// those writes had ended before one that began there, the model could not say.
func (r *modelRun) late() uint64 {
	for n := uint64(100000); ; n *= 2 {
		seq := r.now() - r.chance.Uint64N(n)*2 - 1
		at, _ := slices.BinarySearchFunc(r.ends, seq, func(span [2]uint64, seq uint64) int { return cmp.Compare(span[1], seq) })
		if at == len(r.ends) || seq < r.ends[at][0] {
			return seq
		}
	}
}

// ending does what ends writes.
func (r *modelRun) ending(f func()) {
	from := r.now()
	f()
	r.ends = append(r.ends, [2]uint64{from, r.now()})
}

func (r *modelRun) promiseSome() {
	es := make([]Entry, 1+r.chance.IntN(3))
	for i := range es {
		es[i] = r.entry()
	}
	last := r.now()
	r.ending(func() {
		if err := r.Promise(es); err != nil {
			r.t.Fatal(err)
		}
	})
	for _, e := range es {
		last = max(last, e.Seq) + 1 // each has ended before the next one begins
		if e.Open {
			r.m.open[e.Seq] = e
			continue
		}
		r.m.end(e, last)
	}
}

// now is after all that was begun, and before what will be.
func (r *modelRun) now() uint64 { return r.Stamp(time.Now()) }

func (r *modelRun) settleOne() {
	for seq := range r.m.open {
		owed := r.chance.Uint64N(8)
		if r.chance.IntN(2) == 0 {
			owed = 0
		}
		took := 7 &^ owed
		r.ending(func() {
			r.Journal.settleOpen(&Entry{Seq: seq, Owed: owed, Took: took})
			r.m.settle(seq, owed, took, r.now())
		})
		return
	}
}

// repairOne resolves or notes one of the pending keys.
func (r *modelRun) repairOne() {
	ps := r.all()
	if len(ps) == 0 {
		return
	}
	p := &ps[r.chance.IntN(len(ps))]
	k := p.Key
	if r.chance.IntN(3) == 0 {
		p.Tries, p.Parked, p.LastError = r.chance.IntN(9), "", "because"
		if r.chance.IntN(2) == 0 {
			p.Parked = task.Lost
		}
		if !r.Note(p) {
			r.t.Fatalf("%s: not noted", k)
		}
		r.m.keys[k].note = *p
		return
	}
	if !r.Resolve(p) {
		r.t.Fatalf("%s: not resolved", k)
	}
	delete(r.m.keys, k)
}

func (r *modelRun) step() {
	switch r.chance.IntN(40) {
	case 0:
		r.ending(func() {
			r.reopen()
			r.m.crash(r.now)
		})
	case 1, 2:
		r.mustFlush()
		r.ending(func() {
			r.restart()
			r.m.crash(r.now)
		})
	case 3, 4:
		r.tick()
	case 5:
		if err := r.checkpoint(); err != nil {
			r.t.Fatal(err)
		}
	case 6, 7, 8, 9, 10, 11:
		r.repairOne()
	case 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23:
		r.settleOne()
	default:
		r.promiseSome()
	}
}

// difference has the lines that are in one of both only.
func difference(got, want []string) string {
	without := func(all, others []string) string {
		return strings.Join(slices.DeleteFunc(slices.Clone(all), func(l string) bool { return slices.Contains(others, l) }), "\n")
	}
	return "got\n" + without(got, want) + "\nwant\n" + without(want, got)
}

func (r *modelRun) check() {
	r.t.Helper()
	got, want := r.linesOf(r.all()), r.m.pending()
	if !slices.Equal(got, want) {
		r.t.Fatal(difference(got, want))
	}
	r.checkStats()
}

func (r *modelRun) checkStats() {
	r.t.Helper()
	s := r.Stats()
	by, pending, parked := make([]int, 3), 0, 0
	lacking := make([]int, 3)
	for _, k := range r.m.keys {
		owed, lacks := k.owed(), k.lacks()
		for i := range by {
			by[i] += int(owed >> i & 1)
			lacking[i] += int(lacks >> i & 1)
		}
		if owed != 0 {
			pending++
		}
		if k.note.Parked != "" {
			parked++
		}
	}
	if s.Pending != pending || s.Open != len(r.m.open) || !slices.Equal(s.ByBackend, by) || s.Parked != parked {
		r.t.Fatalf("%+v, want %d pending, %d open, %d parked, %v", s, pending, len(r.m.open), parked, by)
	}
	r.checkOwed(lacking)
	// What a segment is needed for is counted.
	live := map[uint32]int{}
	for age := uint64(0); ; {
		id, ok := r.book.keys.after(age, false)
		if !ok {
			break
		}
		age = r.book.keys.at(id).age
		live[r.book.keys.at(id).seg]++
	}
	r.opens.each(func(_ uint32, o *open) bool { live[o.at.seg]++; return true })
	for _, seg := range r.segs {
		if seg.live != live[seg.num] {
			r.t.Fatalf("segment %d counts %d needed records, has %d", seg.num, seg.live, live[seg.num])
		}
	}
}

// checkOwed compares what reads go by (R30).
func (r *modelRun) checkOwed(lacking []int) {
	r.t.Helper()
	outs, owed, out := map[string]uint64{}, slices.Clone(lacking), make([]int, len(lacking))
	for _, e := range r.m.open {
		if !e.Unacknowledged && (e.Aspect == task.Content || e.Aspect == task.Version) {
			lacks := lacksOf(e)
			outs[string(e.Key)] |= lacks
			for i := range lacking {
				lacking[i] += int(lacks >> i & 1)
				out[i] += int(lacks >> i & 1)
			}
		}
	}
	for _, last := range []uint64{0, r.opens.added} {
		gotOwed, gotOut := make([]int, 3), make([]int, 3)
		if r.OwedApart([]byte("b"), last, gotOwed, gotOut); !slices.Equal(gotOwed, owed) || !slices.Equal(gotOut, out) {
			r.t.Fatalf("in the bucket is owed %v, and under way %v, want %v, %v", gotOwed, gotOut, owed, out)
		}
	}
	counts := make([]int, 3)
	if r.OwedIn([]byte("b"), counts); !slices.Equal(counts, lacking) {
		r.t.Fatalf("in the bucket is owed %v, want %v", counts, lacking)
	}
	for i := range min(r.keys, 100) {
		key := fmt.Sprintf("key%d", i)
		want := outs[key]
		if k := r.m.keys[key]; k != nil {
			want |= k.lacks()
		}
		if got := r.Owed([]byte("b"), []byte(key)); got != want {
			r.t.Fatalf("of %s is owed %b, want %b", key, got, want)
		}
	}
}

func TestR20Model(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		o    Options
		keys int
	}{
		{"small segments", Options{SegmentSize: 2000}, 20},
		{"one segment", Options{}, 20},
		{"tiny segments, power", Options{SegmentSize: 1, Power: true}, 8},
		{"from checkpoints", Options{SegmentSize: 2000, scanBelow: 1}, 20},
		{"from checkpoints, many keys", Options{SegmentSize: 20000, scanBelow: 1}, 3000},
		{"many keys", Options{SegmentSize: 20000}, 3000},
	} {
		t.Run(c.name, func(t *testing.T) {
			steps := 4000
			if testing.Short() {
				steps = 400
			}
			seed := uint64(time.Now().UnixNano())
			r := newModelRun(t, c.o, seed, c.keys)
			defer func() {
				if t.Failed() {
					t.Logf("seed %d", seed)
				}
			}()
			for i := range steps {
				r.step()
				if c.keys < 100 || i%100 == 0 {
					r.check()
				}
			}
			r.check()
			r.quiet()
			r.checkRead(c.o.scanBelow)
			r.bounded(c.o.SegmentSize)
		})
	}
}

// checkRead compares what Read sees of the files with the journal's own view.
func (r *modelRun) checkRead(scanBelow int64) {
	r.t.Helper()
	for seq := range maps.Clone(r.m.open) {
		r.settle(seq, 2, nil)
		r.m.settle(seq, 2, 0, r.now())
	}
	r.mustFlush()
	var ps []task.Task
	s, err := readFrom(r.fs.clone(), "j", max(scanBelow, 1), func(p *task.Task, names []string) bool {
		if !slices.Equal(names, r.o.Backends) {
			r.t.Fatal(names)
		}
		ps = append(ps, *p)
		return true
	})
	if err != nil || s.Damaged != 0 || s.Pending != len(ps) || s.Open != 0 {
		r.t.Fatalf("%+v, %v", s, err)
	}
	if got, want := r.linesOf(ps), r.m.pending(); !slices.Equal(got, want) {
		r.t.Fatal(difference(got, want))
	}
}

// bounded: the log is not much more than what is needed of it.
func (r *modelRun) bounded(segment int64) {
	r.t.Helper()
	r.tick()
	if segment == 0 {
		segment = defaultSegmentSize
	}
	s := r.Stats()
	live := r.book.keys.bytes + r.opens.bytes
	if segment > 1 && s.Bytes > 2*live+4*segment {
		r.t.Fatalf("%d bytes for %d that are needed, in segments of %d", s.Bytes, live, segment)
	}
}
