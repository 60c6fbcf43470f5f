package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/akubra/akubra/synclog/task"
)

// book is what is known of a directory: its segments, the pending keys and the
// open intents in them. It has no lock of its own.
type book struct {
	fs       FS
	dir      string
	readOnly bool
	mine     uint64   // the configured backends
	names    []string // of all bits: the configured ones, then those that are gone

	segs    []*segment // ascending
	keys    keys
	opens   opens
	hashKey [2]uint64
	lastSeq uint64 // highest seen

	// What is not, or may not be, in its file yet.
	writing, cur *batch

	damaged  uint64
	problems []error // for Options.OnError

	recalled recalled // where read finds what is not in memory, before it reads itself

	rbuf  []byte
	ibuf  []byte
	old   record // find's
	next  record // replay's
	fresh record // applyLocked's
}

var errDamaged = errors.New("damaged")

func isExist(err error) bool { return errors.Is(err, fs.ErrExist) }

// maxProblems that nobody has heard of yet; a disk that fails has thousands.
const maxProblems = 64

func (b *book) problem(format string, args ...any) {
	switch n := len(b.problems); {
	case n < maxProblems:
		b.problems = append(b.problems, fmt.Errorf(format, args...))
	case n == maxProblems:
		b.problems = append(b.problems, errors.New("journal: and more of the kind"))
	}
}

// damage reports what is lost between two offsets of a segment.
func (b *book) damage(s *segment, from, to int64, what string) {
	b.damaged++
	s.damaged = true
	b.problem("journal: segment %q is damaged between offset %d and %d: %s", s.name(), from, to, what)
}

func (b *book) segment(num uint32) *segment {
	i, ok := slices.BinarySearchFunc(b.segs, num, func(s *segment, num uint32) int {
		return int(int64(s.num) - int64(num))
	})
	if !ok {
		return nil
	}
	return b.segs[i]
}

// hashOf is the hash of what tells a key apart.
func (b *book) hashOf(d ident) uint32 {
	b.ibuf = d.append(b.ibuf[:0])
	return uint32(sipHash(b.hashKey[0], b.hashKey[1], b.ibuf))
}

// find returns a key's slot and its record, which is valid until the next read.
//
// A slot with the same hash whose record cannot be read is taken for the key's, since it hardly ever
// belongs to another one. What memory knows replaces the record, so that the next record still says
// which backends are owed.
func (b *book) find(of ident, hash uint32) (id uint32, r *record) {
	t := b.keys.shard(hash)
	for i, id, ok := t.first(hash); ok; i, id, ok = t.after(i) {
		s := b.keys.at(id)
		if s.hash != hash {
			continue
		}
		r, err := b.readSlot(id)
		if err != nil {
			seg := b.segment(s.seg)
			if errors.Is(err, errDamaged) {
				b.damage(seg, int64(s.off), int64(s.off)+codedSize(s.size), "a pending key is known by its hash alone")
			} else {
				b.problem("journal: cannot read segment %q at offset %d: %w", seg.name(), s.off, err)
			}
			b.old = b.keys.unread(of, s)
			return id, &b.old
		}
		if r.ident().is(of) {
			return id, r
		}
	}
	return 0, nil
}

// readSlot reads a slot's record, with masks of ours.
func (b *book) readSlot(id uint32) (*record, error) {
	s := b.keys.at(id)
	seg := b.segment(s.seg)
	typ, payload, err := b.read(seg, s.off, s.size)
	if err == nil {
		err = b.parse(seg, &b.old, payload, typ)
	}
	if err != nil {
		return nil, err
	}
	return &b.old, nil
}

// parse reads a state, with masks of ours.
func (b *book) parse(seg *segment, r *record, payload []byte, typ byte) error {
	if typ != typeState && typ != typeOldState || r.parsePayload(payload, typ, seg.all()) != nil {
		return errDamaged
	}
	r.entries(func(e *Entry) { b.translate(seg, e) })
	return nil
}

// parseIntent reads an intent, with masks of ours.
func (b *book) parseIntent(seg *segment, e *Entry, payload []byte, typ byte) error {
	if typ != typeIntent && typ != typeOldIntent || parseIntent(e, payload, typ, seg.all()) != nil {
		return errDamaged
	}
	b.translate(seg, e)
	return nil
}

// translate makes a segment's masks ours.
func (b *book) translate(seg *segment, e *Entry) {
	e.Owed = b.mask(seg, e.Owed)
	if seg.unnamed {
		e.Took, e.ETags, e.Made, e.MadeNull = 0, nil, nil, 0
		return
	}
	e.Took, e.MadeNull = seg.ours(e.Took), seg.ours(e.MadeNull)
	if seg.bits != nil {
		e.ETags, e.Made = seg.translateETags(e.ETags), seg.translateETags(e.Made)
	}
}

func (s *segment) translateETags(list []task.BackendETag) []task.BackendETag {
	known := list[:0]
	for _, x := range list {
		if x.Backend < len(s.bits) {
			known = append(known, task.BackendETag{Backend: int(s.bits[x.Backend]), ETag: x.ETag})
		}
	}
	return known
}

func (b *book) mask(seg *segment, mask uint64) uint64 {
	if seg.unnamed && mask != 0 {
		return b.mine
	}
	return seg.ours(mask)
}

// read reads a record that begins at off and is about as long as the code says.
func (b *book) read(seg *segment, off uint32, code uint8) (typ byte, payload []byte, err error) {
	var p []byte
	if in := b.unwritten(seg, off); in != nil {
		p = in.buf[int64(off)-in.base:]
	} else if r, ok := b.recalled[recallKey(seg.num, off)]; ok {
		if r.err != nil {
			return 0, nil, r.err
		}
		p = r.p
	} else if b.rbuf, err = readRecord(seg, int64(off), codedSize(code), b.rbuf); err != nil {
		return 0, nil, err
	} else {
		p = b.rbuf
	}
	typ, payload, ok := parseFrame(p, seg.salt)
	if !ok {
		return 0, nil, errDamaged
	}
	return typ, payload, nil
}

// unwritten is the batch in memory that has a place in the log.
func (b *book) unwritten(seg *segment, off uint32) *batch {
	for _, in := range [2]*batch{b.writing, b.cur} {
		if in != nil && in.seg == seg && int64(off) >= in.base && int64(off) < in.base+int64(len(in.buf)) {
			return in
		}
	}
	return nil
}

// readRecord reads up to n bytes of a segment's file. A read that fails is tried
// once more.
func readRecord(seg *segment, off, n int64, buf []byte) ([]byte, error) {
	if seg.file == nil {
		return buf, errDamaged
	}
	n = min(n, seg.size-off)
	if n < frameLen {
		return buf, errDamaged
	}
	buf = slices.Grow(buf[:0], int(n))[:n]
	err := readFull(seg.file, buf, off)
	if err != nil {
		err = readFull(seg.file, buf, off)
	}
	return buf, err
}

// lose gives up a slot whose record is damaged.
func (b *book) lose(id uint32) {
	s := *b.keys.at(id)
	seg := b.segment(s.seg)
	b.damage(seg, int64(s.off), int64(s.off)+codedSize(s.size), "a pending key is lost")
	b.dropKey(id)
}

func (b *book) addKey(r *record, hash uint32, at place) {
	b.keys.add(r, hash, at)
	b.segment(at.seg).live++
}

// moveKey gives a slot a new record.
func (b *book) moveKey(id uint32, r *record, at place) {
	b.segment(b.keys.at(id).seg).live--
	b.keys.set(id, r, at)
	b.segment(at.seg).live++
}

func (b *book) dropKey(id uint32) {
	b.segment(b.keys.at(id).seg).live--
	b.keys.remove(id)
}

// addOpen takes in an intent; at is zero where the log does not have it yet.
func (b *book) addOpen(e *Entry, hash uint32, at place, typ byte, payload []byte) {
	id := b.opens.add(e.Seq, hash, at, typ, payload)
	o := &b.opens.list[id]
	o.removes = removes(e)
	if o.lacking = lacking(e) & b.mine; o.lacking != 0 {
		o.bucket = b.keys.bucket(e.Bucket)
		count(o.bucket.out, o.lacking, 1)
		b.opens.enter(id)
		if o.removes {
			o.leaving = o.lacking
			b.keys.countRemoval(&o.bucket.leaving, o.leaving, 1)
		}
	}
	if at.seg != 0 {
		b.segment(at.seg).live++
	}
}

// dropOpen ends an intent; what it gives is good until the next addOpen.
func (b *book) dropOpen(id uint32) {
	o := &b.opens.list[id]
	if o.logged() {
		b.segment(o.at.seg).live--
	}
	if o.bucket != nil {
		count(o.bucket.out, o.lacking, -1)
		b.opens.leave(id)
		b.keys.countRemoval(&o.bucket.leaving, o.leaving, -1)
		o.leaving = 0
		b.keys.leave(o.bucket)
		o.bucket = nil
	}
	b.opens.remove(id)
}

// openEntry parses an open intent.
func (b *book) openEntry(o *open, e *Entry) bool {
	if !o.logged() { // its masks are this process's
		return parseIntent(e, o.payload, typeIntent, b.mine) == nil
	}
	return b.parseIntent(b.segment(o.at.seg), e, o.payload, o.typ) == nil
}

// othersOpen reports whether a key has an open intent, an older one than before if that is
// not 0.
func (b *book) othersOpen(of ident, hash uint32, before uint64) bool {
	for id := b.opens.oldest(hash); id != noOpen; id = b.opens.list[id].newer {
		o := &b.opens.list[id]
		if before != 0 && o.seq >= before {
			break
		}
		var e Entry
		if b.openEntry(o, &e) && identOf(&e).is(of) {
			return true
		}
	}
	return false
}
