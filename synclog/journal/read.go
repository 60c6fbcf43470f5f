package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"

	"github.com/akubra/akubra/synclog/task"
)

// ReadStats is what Read has found.
type ReadStats struct {
	Pending  int // keys that some backend is owed
	Open     int // intents without an end
	Segments int
	Bytes    int64
	Damaged  uint64
	Problems []error // what is wrong with the files
}

// readTries bounds how often Read starts again because the journal has moved on.
const readTries = 10

// Read passes every pending key in dir to fn, oldest first, until fn returns false. It takes no
// lock, and works with or without a running process. backends are all names in the files. A key
// with an open intent has Open set: if no process runs, its outcome is unknown. What is only in
// the memory of a running process, settlements above all, is not seen.
func Read(dir string, fn func(t *task.Task, backends []string) bool) (ReadStats, error) {
	return readFrom(osFS{}, dir, defaultScanBelow, fn)
}

func readFrom(files FS, dir string, scanBelow int64, fn func(t *task.Task, backends []string) bool) (ReadStats, error) {
	for try := 1; ; try++ {
		b := &book{readOnly: true}
		b.init(files, dir, nil)
		b.mine = math.MaxUint64
		b.keys.init(b.mine)
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

// give passes on all keys, then those that have only open intents.
func (b *book) give(fn func(t *task.Task, backends []string) bool) ReadStats {
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
		name := string(r.ident().append(nil))
		open := intents[name]
		delete(intents, name)
		for i := range open {
			r.take(&open[i], b.mine)
		}
		t := r.task(b.names)
		t.Open = len(open) > 0
		more = fn(&t, b.names)
	}
	var rest []*record
	for _, open := range intents {
		r := &record{bucket: open[0].Bucket, key: open[0].Key}
		if len(r.key) == 0 {
			r.target = open[0].Target
		}
		for i := range open {
			r.take(&open[i], b.mine)
		}
		rest = append(rest, r)
	}
	slices.SortFunc(rest, func(x, y *record) int { return cmp.Compare(x.first, y.first) })
	for _, r := range rest {
		if more {
			t := r.task(b.names)
			t.Open = true
			more = fn(&t, b.names)
		}
	}
	s.Damaged, s.Problems = b.damaged, b.problems
	return s
}

// intentsByKey returns the open intents of each key, in their order.
func (b *book) intentsByKey() map[string][]Entry {
	keys := map[string][]Entry{}
	b.opens.each(func(_ uint32, o *open) bool {
		var e Entry
		if b.openEntry(o, &e) {
			name := string(identOf(&e).append(nil))
			keys[name] = append(keys[name], e)
		}
		return true
	})
	for _, es := range keys {
		slices.SortFunc(es, func(x, y Entry) int { return cmp.Compare(x.Seq, y.Seq) })
	}
	return keys
}
