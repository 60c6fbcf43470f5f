package journal

import (
	"cmp"
	"errors"
	"io/fs"
	"slices"
)

// list opens all segments of the directory.
func (b *book) list() error {
	names, err := b.fs.ReadDir(b.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		num, salt, ok := parseSegmentName(name)
		if !ok {
			continue
		}
		f, err := b.fs.Open(b.path(name))
		if err != nil {
			return err // fs.ErrNotExist beside a running process: list again
		}
		s := &segment{num: num, salt: salt, file: f}
		b.segs = append(b.segs, s)
		if s.size, err = f.Size(); err != nil {
			return err
		}
		s.kept = slices.Contains(names, name+damagedExt)
	}
	slices.SortFunc(b.segs, func(x, y *segment) int { return cmp.Compare(x.num, y.num) })
	for i := 1; i < len(b.segs); i++ {
		if b.segs[i].num == b.segs[i-1].num {
			b.problem("journal: segments %q and %q have one number", b.segs[i-1].name(), b.segs[i].name())
			return errors.New("journal: two segments with one number")
		}
	}
	return nil
}

func (b *book) closeFiles() {
	for _, s := range b.segs {
		if s.file != nil {
			_ = s.file.Close() // what mattered was synced
		}
	}
}

// load reads everything that is there. Segments whose records are in a checkpoint are not read
// again if they have more than scanBelow bytes.
func (b *book) load(scanBelow int64) error {
	if err := b.list(); err != nil {
		return err
	}
	from, off := uint32(0), int64(0)
	if b.total() > scanBelow {
		num, at, err := b.loadCheckpoint()
		switch {
		case err == nil:
			from, off = num, at
		case !errors.Is(err, fs.ErrNotExist):
			b.damaged++
			b.problem("journal: cannot use the checkpoint, reading everything: %w", err)
		}
	}
	var sc scanner
	for i, s := range b.segs {
		if s.num < from {
			continue
		}
		if s.num > from {
			off = 0
		}
		b.scan(&sc, s, off, i == len(b.segs)-1)
	}
	return nil
}

// scan replays a segment from off on; 0 means from behind its head.
func (b *book) scan(sc *scanner, s *segment, off int64, last bool) {
	*sc = scanner{f: s.file, size: s.size, salt: s.salt, off: off, tail: off, buf: sc.buf[:0]}
	sc.bad = func(from, to int64) { b.damage(s, from, to, "what stood there is lost") }
	headed := s.bits != nil
	if off == 0 {
		sc.off = min(s.size, int64(len(segmentMagic)))
		if sc.off == int64(len(segmentMagic)) && string(sc.at(0, len(segmentMagic))) != segmentMagic {
			sc.bad(0, sc.off)
		}
	}
	for {
		typ, payload, at, ok := sc.next()
		if !ok {
			break
		}
		if typ == typeNames {
			d := decoder{p: payload}
			if names := d.names(); d.end() == nil {
				b.setNames(s, names)
				headed, s.unnamed = true, false
				continue
			}
		}
		if !headed && !s.unnamed {
			s.unnamed = true
			b.damage(s, 0, at, "the names of its backends are lost: its keys are owed to all")
		}
		p := place{seg: s.num, off: uint32(at), size: frameLen + len(payload)}
		if err := b.replay(s, p, typ, payload); err != nil {
			b.damage(s, at, at+int64(p.size), err.Error())
		}
	}
	b.end(sc, s, last)
}

// end examines what follows a segment's last record.
func (b *book) end(sc *scanner, s *segment, last bool) {
	if sc.unread != nil {
		b.damage(s, sc.tail, s.size, "cannot read all of it: "+sc.unread.Error())
		return
	}
	if sc.tail == s.size {
		return
	}
	if !last {
		b.damage(s, sc.tail, s.size, "no record")
		return
	}
	if b.readOnly {
		s.size = sc.tail // a record that is being written
		return
	}
	b.damaged++
	b.problem("journal: segment %q is torn at offset %d: the last %d bytes are cut", s.name(), sc.tail, s.size-sc.tail)
	if err := b.fs.Truncate(b.path(s.name()), sc.tail); err != nil {
		b.problem("journal: cannot cut segment %q: %w", s.name(), err)
		return
	}
	s.size = sc.tail
}

// replay applies one record.
func (b *book) replay(s *segment, at place, typ byte, payload []byte) error {
	switch typ {
	case typeIntent, typeOldIntent:
		var e Entry
		if err := b.parseIntent(s, &e, payload, typ); err != nil {
			return err
		}
		b.lastSeq = max(b.lastSeq, e.Seq)
		b.closeOpen(e.Seq) // it was moved
		b.addOpen(&e, b.hashOf(identOf(&e)), at, typ, payload)
	case typeState, typeOldState:
		r := &b.next
		r.lean = true
		if err := b.parse(s, r, payload, typ); err != nil {
			return err
		}
		b.lastSeq = max(b.lastSeq, r.closes)
		r.entries(func(e *Entry) { b.lastSeq = max(b.lastSeq, e.Seq, e.Settled) })
		b.closeOpen(r.closes)
		hash := b.hashOf(r.ident())
		if id, old := b.find(r.ident(), hash); old != nil {
			b.moveKey(id, r, at)
		} else {
			// Not behind all others: what was moved to the head is old, and sort puts it in order.
			b.keys.addAged(slot{age: r.first, hash: hash}, at, b.keys.kindOf(r), len(r.parked) > 0)
			s.live++
		}
	case typeSettle:
		seq, err := parseSettle(payload)
		if err != nil {
			return err
		}
		b.closeOpen(seq)
	case typeGone:
		of, closes, err := parseGone(payload)
		if err != nil {
			return err
		}
		b.closeOpen(closes)
		if id, old := b.find(of, b.hashOf(of)); old != nil {
			b.dropKey(id)
		}
	default:
		return errors.New("a record of an unknown type")
	}
	return nil
}

func (b *book) closeOpen(seq uint64) {
	if id, ok := b.opens.find(seq); ok {
		b.dropOpen(id)
	}
}
