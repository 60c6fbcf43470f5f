package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
)

const (
	checkpointMagic = "akubraC1"
	checkpointName  = "checkpoint"
	slotSize        = 24
)

// checkpoint writes where all keys are, so that the next start need not read the log up to here.
// The keys are copied page by page while others change them: a start replays everything logged
// since the copying began, and a record says everything about its key.
func (j *Journal) checkpoint() error {
	name := j.path(checkpointName)
	tmp := name + ".tmp"
	if err := j.fs.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := j.fs.Create(tmp)
	if err != nil {
		return err
	}
	w := &checkpointWriter{f: f, salt: rand.Uint32()}
	err = j.writeCheckpoint(w)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		// What the slots point to comes first. This fails after a failure that changes places in
		// the log: only the flusher ends a failure.
		err = j.syncLog()
	}
	if err != nil {
		_ = j.fs.Remove(tmp) // the next one does it otherwise
		return err
	}
	if err := j.fs.Rename(tmp, name); err != nil {
		return err
	}
	j.mu.Lock()
	j.logged -= w.logged
	j.checkpointed, j.unmark = true, false
	j.mu.Unlock()
	return j.fs.SyncDir(j.dir)
}

type checkpointWriter struct {
	f     File
	salt  uint32
	off   int64
	buf   []byte
	start int // of the record in buf
	// logged is how much was logged before, since the previous checkpoint.
	logged int64
}

func (w *checkpointWriter) begin(typ byte) {
	w.start = len(w.buf)
	w.buf = beginFrame(w.buf, typ)
}

func (w *checkpointWriter) end() { endFrame(w.buf[w.start:], w.salt) }

func (w *checkpointWriter) flush() error {
	n, err := w.f.WriteAt(w.buf, w.off)
	if err == nil && n < len(w.buf) {
		err = io.ErrShortWrite
	}
	w.off += int64(n)
	w.buf = w.buf[:0]
	return err
}

func (j *Journal) writeCheckpoint(w *checkpointWriter) error {
	w.buf = append(w.buf, checkpointMagic...)
	w.buf = binary.LittleEndian.AppendUint32(w.buf, w.salt)

	j.mu.Lock()
	w.logged = j.logged
	w.begin(typeBegin)
	w.buf = binary.LittleEndian.AppendUint64(w.buf, j.hashKey[0])
	w.buf = binary.LittleEndian.AppendUint64(w.buf, j.hashKey[1])
	w.buf = binary.LittleEndian.AppendUint64(w.buf, j.seq.Load())
	w.buf = binary.LittleEndian.AppendUint32(w.buf, j.cur.seg.num)
	w.buf = binary.LittleEndian.AppendUint64(w.buf, uint64(j.cur.base)+uint64(len(j.cur.buf)))
	w.buf = appendNames(w.buf, j.names)
	w.end()
	w.begin(typeOpens)
	j.opens.each(func(_ uint32, o *open) bool {
		if !o.logged() {
			return true // it will stand behind the checkpoint, if ever
		}
		if len(w.buf)-w.start > maxPayload-64 {
			w.end()
			w.begin(typeOpens)
		}
		w.buf = binary.LittleEndian.AppendUint64(w.buf, o.seq)
		w.buf = binary.LittleEndian.AppendUint32(w.buf, o.at.seg)
		w.buf = binary.LittleEndian.AppendUint32(w.buf, o.at.off)
		w.buf = binary.LittleEndian.AppendUint32(w.buf, uint32(o.at.size))
		return true
	})
	w.end()
	j.mu.Unlock()
	if err := w.flush(); err != nil {
		return err
	}

	var age, count uint64
	for more := true; more; {
		w.begin(typeKeys)
		j.mu.Lock()
		more = j.keys.pageAfter(age, func(s *slot) {
			w.buf = s.append(w.buf)
			age = s.age
			count++
		})
		j.mu.Unlock()
		w.end()
		if err := w.flush(); err != nil {
			return err
		}
	}
	return j.writeClasses(w, count)
}

func (s *slot) append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, s.age)
	dst = binary.LittleEndian.AppendUint32(dst, s.seg)
	dst = binary.LittleEndian.AppendUint32(dst, s.off)
	dst = binary.LittleEndian.AppendUint32(dst, s.hash)
	dst = binary.LittleEndian.AppendUint16(dst, s.kind)
	return append(dst, s.size, s.bits&slotParked)
}

// writeClasses ends a checkpoint: only now are all classes known. A class whose meaning has
// changed since the keys were copied belongs to keys that have changed since, which the log
// covers.
func (j *Journal) writeClasses(w *checkpointWriter, count uint64) error {
	j.mu.Lock()
	w.begin(typeClasses)
	for i := range j.keys.classes {
		if len(w.buf)-w.start > maxPayload/2 {
			w.end()
			w.begin(typeClasses)
		}
		c := &j.keys.classes[i]
		w.buf = binary.LittleEndian.AppendUint64(w.buf, c.owed)
		w.buf = binary.LittleEndian.AppendUint64(w.buf, c.lacking)
		var name string
		if c.bucket != nil {
			name = c.bucket.name
		}
		w.buf = binary.AppendUvarint(w.buf, uint64(len(name)))
		w.buf = append(append(w.buf, name...), c.parked)
		w.buf = binary.AppendUvarint(w.buf, c.removing)
	}
	j.mu.Unlock()
	w.end()
	w.begin(typeEnd)
	w.buf = binary.LittleEndian.AppendUint64(w.buf, count)
	w.end()
	return w.flush()
}

// loadCheckpoint fills the book and returns the place from which the log must be replayed. After
// an error the book is as it was.
func (b *book) loadCheckpoint() (num uint32, off int64, err error) {
	f, err := b.fs.Open(b.path(checkpointName))
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	l := checkpointLoader{b: b}
	if err := l.read(f, false); err != nil { // all of it is good, or none of it is used
		return 0, 0, err
	}
	for _, s := range b.segs {
		if s.num < l.seg || s.num == l.seg && l.off > 0 {
			b.readHead(s)
		}
	}
	if s := b.segment(l.seg); s != nil && s.size < l.off {
		return 0, 0, fmt.Errorf("segment %q ends before offset %d", s.name(), l.off)
	}
	if err := l.read(f, true); err != nil {
		b.empty()
		return 0, 0, err
	}
	if l.lost > 0 {
		b.damaged++
		b.problem("journal: %d pending keys are lost: a segment with them is missing", l.lost)
	}
	return l.seg, l.off, nil
}

// empty removes all keys and intents.
func (b *book) empty() {
	b.keys.init(b.mine)
	b.opens = opens{}
	for _, s := range b.segs {
		s.live = 0
	}
}

// readHead only reads which backends a segment's masks refer to.
func (b *book) readHead(s *segment) {
	if s.size == 0 {
		return // its process ended before it wrote anything
	}
	sc := scanner{f: s.file, size: s.size, salt: s.salt}
	typ, payload, _ := sc.record(int64(len(segmentMagic)))
	d := decoder{p: payload}
	if names := d.names(); typ == typeNames && d.end() == nil {
		b.setNames(s, names)
		return
	}
	s.unnamed = true
	b.damage(s, 0, int64(len(segmentMagic)+len(payload)), "the names of its backends are lost: its keys are owed to all")
}

type loadedClass struct {
	class
	bucket []byte
}

// errOld: a checkpoint from before keys were kept by aspect, or counted by why they are parked.
// The log knows more.
var errOld = fmt.Errorf("an old checkpoint: %w", fs.ErrNotExist)

type checkpointLoader struct {
	b     *book
	seg   uint32
	off   int64
	names []string
	count uint64
	kinds []loadedClass
	seen  uint64
	lost  int
}

// read goes through the file twice: first to check it and to learn the masks, then to fill the
// book.
func (l *checkpointLoader) read(f File, fill bool) error {
	size, err := f.Size()
	if err != nil {
		return err
	}
	head := make([]byte, len(checkpointMagic)+4)
	if err := readFull(f, head, 0); err != nil {
		return err
	}
	if string(head[:len(checkpointMagic)]) != checkpointMagic {
		return errors.New("not a checkpoint")
	}
	salt := binary.LittleEndian.Uint32(head[len(checkpointMagic):])
	sc := scanner{f: f, size: size, salt: salt, off: int64(len(head))}
	ended := false
	for sc.off < size {
		typ, payload, n := sc.record(sc.off)
		if sc.unread != nil {
			return sc.unread
		}
		if n == 0 || ended {
			return fmt.Errorf("damaged at offset %d", sc.off)
		}
		sc.off += int64(n)
		d := decoder{p: payload}
		switch {
		case typ == typeOldEnd, typ == typeNoWhy, typ == typeBefore:
			return errOld
		case typ == typeEnd:
			l.count = d.uint64()
			ended = true
		case typ == typeClasses && !fill:
			l.readClasses(&d)
		case typ == typeClasses:
			d.take(uint64(len(payload)))
		case typ == typeKeys && fill:
			l.readKeys(&d)
		case typ == typeKeys:
			l.seen += uint64(len(payload) / slotSize)
			d.take(uint64(len(payload)))
		case typ == typeOpens && fill:
			if err := l.readOpens(&d); err != nil {
				return err
			}
		case typ == typeOpens:
			d.take(uint64(len(payload)))
		case typ == typeBegin:
			l.readBegin(&d, fill)
		default:
			d.bad = true
		}
		if err := d.end(); err != nil {
			return fmt.Errorf("damaged before offset %d", sc.off)
		}
	}
	if !ended || l.seen != l.count || l.seg == 0 {
		return errors.New("it has no end")
	}
	return nil
}

func (l *checkpointLoader) readBegin(d *decoder, fill bool) {
	k0, k1 := d.uint64(), d.uint64()
	last := d.uint64()
	l.seg, l.off = d.uint32(), int64(d.uint64())
	l.names = d.names()
	if fill {
		l.b.hashKey = [2]uint64{k0, k1}
		l.b.lastSeq = min(last, maxSeq)
	}
}

func (l *checkpointLoader) readClasses(d *decoder) {
	var s segment // the checkpoint's names, as a segment has them
	l.b.setNames(&s, l.names)
	for len(d.p) > 0 && !d.bad {
		c := loadedClass{class: class{owed: s.ours(d.uint64()), lacking: s.ours(d.uint64())}}
		c.bucket = bytes.Clone(d.bytes())
		c.parked = d.byte()
		c.removing = s.ours(d.uvarint())
		l.kinds = append(l.kinds, c)
	}
}

func (l *checkpointLoader) readKeys(d *decoder) {
	k := &l.b.keys
	for len(d.p) > 0 && !d.bad {
		s := slot{age: d.uint64()}
		at := place{seg: d.uint32(), off: d.uint32()}
		s.hash = d.uint32()
		kind := int(d.uint16())
		at.size = int(codedSize(d.byte()))
		parked := d.byte()&slotParked != 0
		if d.bad || kind >= len(l.kinds) || s.age <= k.lastAge || s.age >= maxSeq {
			d.bad = true
			return
		}
		k.lastAge = s.age
		seg := l.b.segment(at.seg)
		if seg == nil || int64(at.off)+frameLen > seg.size {
			// It was moved or resolved since, and the log says so; or it is lost.
			if seg != nil || len(l.b.segs) > 0 && at.seg >= l.b.segs[0].num {
				l.lost++
			}
			continue
		}
		c := &l.kinds[kind]
		n := uint16(otherKinds)
		if kind == otherKinds {
			k.countOther()
		} else {
			c.lacking, c.removing = c.lacking&k.mine, c.removing&k.mine
			n = k.kindOfClass(c.class, c.bucket)
		}
		k.addAged(s, at, n, parked)
		seg.live++
	}
}

func (l *checkpointLoader) readOpens(d *decoder) error {
	for len(d.p) > 0 && !d.bad {
		seq := d.uint64()
		at := place{seg: d.uint32(), off: d.uint32(), size: int(d.uint32())}
		seg := l.b.segment(at.seg)
		if seg == nil {
			continue // moved, or ended
		}
		typ, payload, err := l.b.read(seg, at.off, sizeCode(at.size))
		if err != nil || typ != typeIntent && typ != typeOldIntent {
			return fmt.Errorf("cannot read an intent in segment %q at offset %d", seg.name(), at.off)
		}
		var e Entry
		if err := l.b.parseIntent(seg, &e, payload, typ); err != nil || e.Seq != seq {
			return fmt.Errorf("another intent in segment %q at offset %d", seg.name(), at.off)
		}
		l.b.addOpen(&e, l.b.hashOf(identOf(&e)), at, typ, payload)
	}
	return nil
}
