package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
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
	ident []byte
	other []byte
	old   record // find's
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

// setIdent hashes what tells e's key apart, and keeps it for find and sameKey.
func (b *book) setIdent(e *Entry) (hash uint32) {
	b.ident = appendIdent(b.ident[:0], e)
	return uint32(sipHash(b.hashKey[0], b.hashKey[1], b.ident))
}

// sameKey reports whether e has the key of the last setIdent.
func (b *book) sameKey(e *Entry) bool {
	b.other = appendIdent(b.other[:0], e)
	return bytes.Equal(b.other, b.ident)
}

// find gives the slot of the last setIdent's key, with its record, which is good
// until the next read.
//
// A slot with the same hash whose record cannot be read is taken for the key: it
// hardly ever is another one's. What memory has of it stands for the record, so
// that what is written next still tells which backends are owed.
func (b *book) find(hash uint32) (id uint32, r *record) {
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
			b.old = record{first: s.age}
			b.old.Owed = b.keys.masks[s.mask]
			return id, &b.old
		}
		if b.sameKey(&r.Entry) {
			return id, r
		}
	}
	return 0, nil
}

// mergeRead is merge for what find gave: where the record could not be read (it has
// no Seq then), all that is owed stays owed.
func mergeRead(old, e *record) record {
	if old.Seq != 0 {
		return merge(old, e)
	}
	m := *e
	m.Open = false
	m.Owed |= old.Owed
	m.first = min(old.first, e.Seq)
	return m
}

// readSlot reads a slot's record, with masks of ours.
func (b *book) readSlot(id uint32) (*record, error) {
	s := b.keys.at(id)
	seg := b.segment(s.seg)
	typ, payload, err := b.read(seg, s.off, s.size)
	if err == nil && typ != typeState {
		err = errDamaged
	}
	if err == nil {
		err = b.parse(seg, &b.old, payload, typ)
	}
	if err != nil {
		return nil, err
	}
	return &b.old, nil
}

func (b *book) parse(seg *segment, r *record, payload []byte, typ byte) error {
	if r.parsePayload(payload, typ) != nil {
		return errDamaged
	}
	r.Owed = b.mask(seg, r.Owed)
	return nil
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

func (b *book) addKey(first uint64, hash uint32, at place, mask uint64, parked bool) {
	b.keys.add(first, hash, at, mask, parked)
	b.segment(at.seg).live++
}

// moveKey gives a slot a new record.
func (b *book) moveKey(id uint32, at place, mask uint64, parked bool) {
	b.segment(b.keys.at(id).seg).live--
	b.keys.set(id, at, mask, parked)
	b.segment(at.seg).live++
}

func (b *book) dropKey(id uint32) {
	b.segment(b.keys.at(id).seg).live--
	b.keys.remove(id)
}

// addOpen takes in an intent; at is zero where the log does not have it yet.
func (b *book) addOpen(seq uint64, hash uint32, at place, payload []byte) {
	b.opens.add(seq, hash, at, payload)
	if at.seg != 0 {
		b.segment(at.seg).live++
	}
}

// dropOpen ends an intent; what it gives is good until the next addOpen.
func (b *book) dropOpen(id uint32) {
	if o := &b.opens.list[id]; o.logged() {
		b.segment(o.at.seg).live--
	}
	b.opens.remove(id)
}

// openEntry parses an open intent.
func (b *book) openEntry(o *open, r *record) bool {
	if !o.logged() { // its mask is this process's
		return r.parsePayload(o.payload, typeIntent) == nil
	}
	return b.parse(b.segment(o.at.seg), r, o.payload, typeIntent) == nil
}

// othersOpen reports whether the last setIdent's key has an open intent, an older
// one than before if that is not 0.
func (b *book) othersOpen(hash uint32, before uint64) bool {
	for id := b.opens.oldest(hash); id != noOpen; id = b.opens.list[id].newer {
		o := &b.opens.list[id]
		if before != 0 && o.seq >= before {
			break
		}
		var r record
		if b.openEntry(o, &r) && b.sameKey(&r.Entry) {
			return true
		}
	}
	return false
}
