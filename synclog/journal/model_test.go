package journal

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// model is what a journal is to remember, in plain maps: of each key every write
// that has ended since nothing was known of it.
type model struct {
	ended map[string][]Entry
	mask  map[string]uint64
	open  map[uint64]Entry
	notes map[string]Pending
}

func newModel() *model {
	return &model{ended: map[string][]Entry{}, mask: map[string]uint64{}, open: map[uint64]Entry{}, notes: map[string]Pending{}}
}

func (m *model) flying(key string) (n int) {
	for _, e := range m.open {
		if string(e.Key) == key {
			n++
		}
	}
	return n
}

// end takes in a write whose legs have ended.
func (m *model) end(e Entry) {
	k := string(e.Key)
	before, owed := m.ended[k], m.mask[k]
	changes := e.Owed != 0 || len(before) > 0 && newest(before).Seq < e.Seq
	m.mask[k] = e.Owed
	if len(before) > 0 { // what is owed after two writes TestR20Meaning tells
		old, r := record{Entry: newest(before)}, record{Entry: e}
		old.Owed = owed
		m.mask[k] = merge(&old, &r).Owed
	}
	m.ended[k] = append(before, e)
	if changes {
		delete(m.notes, k)
	}
	m.tidy(k)
}

func (m *model) tidy(k string) {
	if m.mask[k] == 0 && m.flying(k) == 0 {
		delete(m.ended, k)
		delete(m.mask, k)
		delete(m.notes, k)
	}
}

func (m *model) settle(seq, owed uint64) {
	e := m.open[seq]
	delete(m.open, seq)
	e.Owed, e.Open = owed, false
	m.end(e)
}

func newest(es []Entry) Entry {
	return slices.MaxFunc(es, func(x, y Entry) int { return int(int64(x.Seq) - int64(y.Seq)) })
}

// crash ends the intents with an unknown outcome.
func (m *model) crash() {
	for _, seq := range slices.Sorted(maps.Keys(m.open)) {
		m.settle(seq, m.open[seq].Owed)
	}
}

// pending is one line a key: what Next is to give, in any order.
func (m *model) pending() (lines []string) {
	for k, es := range m.ended {
		if m.mask[k] == 0 || m.flying(k) > 0 {
			continue
		}
		var first uint64
		for _, e := range es {
			if e.Owed != 0 && (first == 0 || e.Seq < first) {
				first = e.Seq
			}
		}
		n, note := newest(es), m.notes[k]
		lines = append(lines, line(k, n, m.mask[k], first, note))
	}
	slices.Sort(lines)
	return lines
}

func line(k string, e Entry, owed, first uint64, note Pending) string {
	return fmt.Sprintf("%s %s %s %b seq %d first %d tries %d parked %v %q", k, e.Method, e.ETag, owed, e.Seq, first,
		note.Tries, note.Parked, note.LastError)
}

func linesOf(ps []Pending) (lines []string) {
	for _, p := range ps {
		lines = append(lines, line(string(p.Key), p.Entry, p.Owed, p.First, p))
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
}

func newModelRun(t testing.TB, o Options, seed uint64, keys int) *modelRun {
	return &modelRun{rig: newRig(t, o), m: newModel(), chance: rand.New(rand.NewPCG(seed, 1)), keys: keys}
}

func (r *modelRun) entry() Entry {
	e := put(fmt.Sprintf("key%d", r.chance.IntN(r.keys)), r.chance.Uint64N(8))
	e.Method = []string{"PUT", "DELETE", "POST"}[r.chance.IntN(3)]
	e.ETag = fmt.Appendf(nil, "%x", r.chance.Uint64())
	e.Target = make([]byte, r.chance.IntN(200))
	e.Open = r.chance.IntN(3) == 0
	if r.chance.IntN(4) == 0 {
		e.Owed = 0
	}
	if r.chance.IntN(4) == 0 { // came late
		e.Seq = r.Stamp(time.Now()) - r.chance.Uint64N(100000)*2 - 1
	}
	return e
}

func (r *modelRun) promiseSome() {
	es := make([]Entry, 1+r.chance.IntN(3))
	for i := range es {
		es[i] = r.entry()
	}
	if err := r.Promise(es); err != nil {
		r.t.Fatal(err)
	}
	for _, e := range es {
		if e.Open {
			r.m.open[e.Seq] = e
			continue
		}
		r.m.end(e)
	}
}

func (r *modelRun) settleOne() {
	for seq := range r.m.open {
		owed := r.chance.Uint64N(8)
		if r.chance.IntN(2) == 0 {
			owed = 0
		}
		r.Settle(seq, owed, nil)
		r.m.settle(seq, owed)
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
	k := string(p.Key)
	if r.chance.IntN(3) == 0 {
		p.Tries, p.Parked, p.LastError = r.chance.IntN(9), r.chance.IntN(2) == 0, "because"
		if !r.Note(p) {
			r.t.Fatalf("%s: not noted", k)
		}
		r.m.notes[k] = *p
		return
	}
	if !r.Resolve(p) {
		r.t.Fatalf("%s: not resolved", k)
	}
	delete(r.m.ended, k)
	delete(r.m.mask, k)
	delete(r.m.notes, k)
}

func (r *modelRun) step() {
	switch r.chance.IntN(40) {
	case 0:
		r.reopen()
		r.m.crash()
	case 1, 2:
		if err := r.Flush(); err != nil {
			r.t.Fatal(err)
		}
		r.restart()
		r.m.crash()
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

func (r *modelRun) check() {
	r.t.Helper()
	got, want := linesOf(r.all()), r.m.pending()
	if !slices.Equal(got, want) {
		r.t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	r.checkStats()
}

func (r *modelRun) checkStats() {
	r.t.Helper()
	s := r.Stats()
	by, pending, parked := make([]int, 3), 0, 0
	for k := range r.m.ended {
		owed := r.m.mask[k]
		for i := range by {
			by[i] += int(owed >> i & 1)
		}
		if owed != 0 {
			pending++
		}
		if r.m.notes[k].Parked {
			parked++
		}
	}
	if s.Pending != pending || s.Open != len(r.m.open) || !slices.Equal(s.ByBackend, by) || s.Parked != parked {
		r.t.Fatalf("%+v, want %d pending, %d open, %d parked, %v", s, pending, len(r.m.open), parked, by)
	}
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
		r.Settle(seq, 2, nil)
		r.m.settle(seq, 2)
	}
	if err := r.Flush(); err != nil {
		r.t.Fatal(err)
	}
	var ps []Pending
	s, err := readFrom(r.fs.clone(), "j", max(scanBelow, 1), func(p Pending, names []string) bool {
		if !slices.Equal(names, r.o.Backends) {
			r.t.Fatal(names)
		}
		ps = append(ps, p)
		return true
	})
	if err != nil || s.Damaged != 0 || s.Pending != len(ps) || s.Open != 0 {
		r.t.Fatalf("%+v, %v", s, err)
	}
	if got, want := linesOf(ps), r.m.pending(); !slices.Equal(got, want) {
		r.t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
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
