package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
)

// ReadStats of Read.
type ReadStats struct {
	Pending  int // keys that some backend is owed
	Open     int // intents without an end
	Segments int
	Bytes    int64
	Damaged  uint64
	Problems []error // what is wrong with the files
}

// readTries bounds how often Read begins anew since the journal moved on.
const readTries = 10

// Read gives every pending key in dir to fn, oldest first, until it says false:
// beside a running process or without one, without its lock. Bit i of Owed is
// backends[i], which has all names in the files. A key that has an open intent
// comes with Open: where no process runs, it is of unknown outcome. What is in a
// running process's memory alone, settlements above all, is not seen.
func Read(dir string, fn func(p Pending, backends []string) bool) (ReadStats, error) {
	return readFrom(osFS{}, dir, defaultScanBelow, fn)
}

func readFrom(files FS, dir string, scanBelow int64, fn func(p Pending, backends []string) bool) (ReadStats, error) {
	for try := 1; ; try++ {
		b := &book{readOnly: true}
		b.init(files, dir, nil)
		b.mine = math.MaxUint64
		b.keys.mine = b.mine
		err := b.load(scanBelow)
		if err == nil {
			b.sort()
			s := b.give(fn)
			b.closeFiles()
			return s, nil
		}
		b.closeFiles()
		if !errors.Is(err, fs.ErrNotExist) || try == readTries {
			return ReadStats{}, fmt.Errorf("journal: cannot read %q: %w", dir, err)
		}
	}
}

// give hands out all keys, then those that have nothing but open intents.
func (b *book) give(fn func(p Pending, backends []string) bool) ReadStats {
	s := ReadStats{Open: b.opens.len(), Segments: len(b.segs), Bytes: b.total()}
	intents := b.intentsByKey()
	more := true
	for age := uint64(0); ; {
		id, ok := b.keys.after(age, false)
		if !ok {
			break
		}
		age = b.keys.at(id).age
		r, err := b.readSlot(id)
		if err != nil {
			b.damaged++
			at := b.keys.at(id)
			b.problem("journal: cannot read segment %q at offset %d: %w", b.segment(at.seg).name(), at.off, err)
			continue
		}
		s.Pending++
		if !more {
			continue
		}
		p := r.pending(b.all())
		ident := string(appendIdent(nil, &p.Entry))
		if in, ok := intents[ident]; ok {
			m := merge(r, in)
			p = m.pending(b.all())
			p.Open = true
			delete(intents, ident)
		}
		p.own()
		more = fn(p, b.names)
	}
	var rest []*record
	for _, r := range intents {
		rest = append(rest, r)
	}
	slices.SortFunc(rest, func(x, y *record) int { return cmp.Compare(x.first, y.first) })
	for _, r := range rest {
		if more {
			p := r.pending(b.all())
			p.Open = true
			more = fn(p, b.names)
		}
	}
	s.Damaged, s.Problems = b.damaged, b.problems
	return s
}

func (b *book) all() uint64 { return 1<<len(b.names) - 1 }

// intentsByKey merges the open intents of each key.
func (b *book) intentsByKey() map[string]*record {
	keys := map[string]*record{}
	b.opens.each(func(_ uint32, o *open) bool {
		var r record
		if !b.openEntry(o, &r) {
			return true
		}
		r.first = r.Seq
		ident := string(appendIdent(nil, &r.Entry))
		if old, ok := keys[ident]; ok {
			r = merge(old, &r)
		}
		keys[ident] = &r
		return true
	})
	return keys
}
