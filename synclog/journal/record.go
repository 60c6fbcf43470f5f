package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"

	"github.com/akubra/akubra/synclog/task"
)

// Types of records.
const (
	typeNames  = 1 // the names of a segment's backends, its first record
	typeSettle = 4 // an intent has ended, and owes nothing
	typeGone   = 5 // a key is not pending any more
	typeIntent = 6 // an entry whose legs are under way
	typeState  = 7 // all that is known of a key: it replaces what was known before
	// From before records were kept by aspect; only read.
	typeOldIntent = 2
	typeOldState  = 3
	// In a checkpoint:
	typeBegin   = 16
	typeOpens   = 17
	typeKeys    = 18
	typeOldEnd  = 19 // ends an old checkpoint, which is not used
	typeNoWhy   = 20 // old classes, which do not say why keys are parked
	typeEnd     = 21
	typeBefore  = 22 // old classes, which do not say who owes a bucket's removal
	typeClasses = 23
	typeLast    = typeClasses
	frameLen    = 9 // CRC, length, type
	maxPayload  = 1 << 20
	maxReason   = 1 << 10 // of Reason and LastError; what is longer is cut
	maxOverhead = 256     // of a payload, beyond its strings
	maxSeq      = 1 << 63 // far in the future, far from an overflow
	maxETag     = 1 << 10 // of an ETag that differs
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// beginFrame appends an empty head for a record; the payload follows, and endFrame.
func beginFrame(dst []byte, typ byte) []byte {
	return append(dst, 0, 0, 0, 0, 0, 0, 0, 0, typ)
}

// endFrame completes the head of the record that is all of frame. The CRC goes on
// from the segment's salt: a record in a client's key, which a search for the
// next good record might hit upon, is so no record.
func endFrame(frame []byte, salt uint32) {
	binary.LittleEndian.PutUint32(frame[4:], uint32(len(frame)-frameLen))
	binary.LittleEndian.PutUint32(frame, crc32.Update(salt, castagnoli, frame[4:]))
}

// frameSize is the size of the record that a head begins, or 0 where it is none.
func frameSize(head []byte) int {
	if len(head) < frameLen {
		return 0
	}
	n := binary.LittleEndian.Uint32(head[4:])
	if n > maxPayload || head[8] == 0 {
		return 0
	}
	return frameLen + int(n)
}

// parseFrame takes apart the record at the beginning of p.
func parseFrame(p []byte, salt uint32) (typ byte, payload []byte, ok bool) {
	n := frameSize(p)
	if n == 0 || n > len(p) || crc32.Update(salt, castagnoli, p[4:n]) != binary.LittleEndian.Uint32(p) {
		return 0, nil, false
	}
	return p[8], p[frameLen:n:n], true
}

// record is all that is known of one key. Its byte slices are borrowed.
type record struct {
	bucket, key []byte
	target      []byte // tells the keys of a bucket's own apart; empty where there is a key
	// writes stand: one an aspect, and of Version and Setting one a target. rivals may have
	// landed after the one of their aspect. Both ascend by Seq.
	writes, rivals []Entry
	rivalsLost     uint8 // bit a: rivals of aspect a are missing
	targetsLost    bool  // writes to versions, or settings, are missing
	first          uint64
	closes         uint64 // the intent that ends with this state; 0: none
	tries          uint64
	notBefore      int64  // Unix ns; 0: at once
	parked         []byte // why; empty: it is not
	lastError      []byte
	unread         bool // the record could not be read: what memory knows stands for it
	lean           bool // usual targets are left out, for who looks at masks alone
}

// Bits of a write's flags in a file.
const (
	flagOverlapped = 1 << iota
	flagUnacknowledged
	flagUnrepeatable
	flagUsualTarget // it is left out
	flagAnswered    // when follows
)

// shiftCarried is where the bits of task.Carried are in a write's flags: the last three.
const shiftCarried = 5

// Bits of a write's aspect in a file. Those of madeBits say what version it made.
const (
	aspectOverlapKnown = 1 << 5 // all that overlapped with it are known
	aspectMadeNull     = 1 << 6 // the null version, on all that took it
	aspectMade         = 1 << 7 // what follows its ETags says
	madeBits           = aspectMadeNull | aspectMade
	aspectBits         = aspectOverlapKnown | madeBits
)

const flagTargetsLost = 1 << 0 // of a state's flags

// appendEntry appends a write, without its bucket and key.
func appendEntry(dst []byte, e *Entry, key, target []byte) []byte {
	var flags byte
	if e.Overlapped {
		flags |= flagOverlapped
	}
	if e.Unacknowledged {
		flags |= flagUnacknowledged
	}
	if e.Unrepeatable {
		flags |= flagUnrepeatable
	}
	if e.Answered != 0 {
		flags |= flagAnswered
	}
	flags |= byte(e.Carried) << shiftCarried
	raw := e.Target
	if len(key) > 0 && isUsual(raw, e.Bucket, key) || len(key) == 0 && len(raw) > 0 && bytes.Equal(raw, target) {
		flags |= flagUsualTarget
		raw = nil
	}
	aspect := byte(e.Aspect)
	if e.Overlapped && e.OverlapKnown {
		aspect |= aspectOverlapKnown
	}
	switch {
	case len(e.Made) > 0 || e.MadeNull != 0 && e.MadeNull != e.Took:
		aspect |= aspectMade
	case e.MadeNull != 0:
		aspect |= aspectMadeNull
	}
	dst = append(dst, aspect, flags)
	dst = binary.LittleEndian.AppendUint64(dst, e.Seq)
	settled := uint64(0)
	if e.Settled != 0 {
		settled = max(e.Settled, e.Seq) - e.Seq + 1
	}
	dst = binary.AppendUvarint(dst, settled)
	if e.Answered != 0 {
		dst = binary.AppendUvarint(dst, max(e.Answered, e.Seq)-e.Seq)
	}
	dst = binary.AppendUvarint(dst, e.Owed)
	dst = binary.AppendUvarint(dst, e.Took)
	dst = binary.AppendVarint(dst, e.Size)
	dst = binary.AppendUvarint(dst, uint64(len(e.Method)))
	dst = append(dst, e.Method...)
	dst = appendBytes(dst, raw)
	dst = appendBytes(dst, e.Host)
	dst = appendBytes(dst, e.ETag)
	dst = appendBytes(dst, e.ID)
	dst = appendBytes(dst, cut(e.Reason))
	dst = appendETags(dst, e.ETags)
	if aspect&aspectMade != 0 {
		dst = binary.AppendUvarint(dst, e.MadeNull)
		dst = appendETags(dst, e.Made)
	}
	return dst
}

func appendETags(dst []byte, list []task.BackendETag) []byte {
	n := min(len(list), maxNames)
	dst = binary.AppendUvarint(dst, uint64(n))
	for _, x := range list[:n] {
		dst = append(dst, byte(x.Backend))
		dst = appendBytes(dst, x.ETag[:min(len(x.ETag), maxETag)])
	}
	return dst
}

// isUsual reports whether a target is "/bucket/key".
func isUsual(target, bucket, key []byte) bool {
	n := len(bucket)
	return len(target) == 2+n+len(key) && target[0] == '/' && target[1+n] == '/' &&
		bytes.Equal(target[1:1+n], bucket) && bytes.Equal(target[2+n:], key)
}

// entry undoes appendEntry.
func (d *decoder) entry(e *Entry, bucket, key, target []byte) {
	*e = Entry{Bucket: bucket, Key: key}
	aspect := d.byte()
	e.Aspect = task.Aspect(aspect &^ aspectBits)
	flags := d.byte()
	e.Overlapped = flags&flagOverlapped != 0
	e.OverlapKnown = aspect&aspectOverlapKnown != 0
	e.Unacknowledged = flags&flagUnacknowledged != 0
	e.Unrepeatable = flags&flagUnrepeatable != 0
	e.Carried = task.Carried(flags >> shiftCarried)
	e.Seq = d.uint64()
	if settled := d.uvarint(); settled != 0 {
		if settled > maxSeq || e.Seq >= maxSeq {
			d.bad = true
			return
		}
		e.Settled = e.Seq + settled - 1
	}
	if flags&flagAnswered != 0 {
		answered := d.uvarint()
		if answered > maxSeq || e.Seq >= maxSeq {
			d.bad = true
			return
		}
		e.Answered = e.Seq + answered
	}
	e.Owed = d.uvarint()
	e.Took = d.uvarint()
	e.Size = d.varint()
	e.Method = methodName(d.bytes())
	e.Target = d.bytes()
	if flags&flagUsualTarget != 0 {
		if e.Target = target; len(key) > 0 && !d.lean {
			e.Target = slices.Concat([]byte{'/'}, bucket, []byte{'/'}, key)
		}
	}
	e.Host = d.bytes()
	e.ETag = d.bytes()
	e.ID = d.bytes()
	e.Reason = d.bytes()
	e.ETags = d.etags()
	switch aspect & madeBits {
	case aspectMadeNull:
		e.MadeNull = e.Took
	case aspectMade:
		e.MadeNull = d.uvarint()
		e.Made = d.etags()
	}
	d.bad = d.bad || e.Seq >= maxSeq || e.Aspect > task.Found || aspect&madeBits == madeBits
}

// appendIntent appends the payload of an intent.
func appendIntent(dst []byte, e *Entry) []byte {
	dst = appendBytes(dst, e.Bucket)
	dst = appendBytes(dst, e.Key)
	return appendEntry(dst, e, e.Key, nil)
}

// parseIntent undoes appendIntent, or reads an intent of an old journal. The slices of e
// point into p.
func parseIntent(e *Entry, p []byte, typ byte, all uint64) error {
	d := decoder{p: p}
	if typ == typeOldIntent {
		if err := parseOldIntent(e, &d, all); err != nil {
			return err
		}
	} else {
		bucket, key := d.bytes(), d.bytes()
		d.entry(e, bucket, key, nil)
	}
	e.Open = true
	return d.end()
}

// appendPayload appends the payload of a state.
func (r *record) appendPayload(dst []byte) []byte {
	flags := byte(0)
	if r.targetsLost {
		flags |= flagTargetsLost
	}
	dst = append(dst, flags, r.rivalsLost)
	dst = binary.LittleEndian.AppendUint64(dst, r.first)
	dst = binary.LittleEndian.AppendUint64(dst, r.closes)
	dst = binary.AppendUvarint(dst, r.tries)
	dst = binary.AppendVarint(dst, r.notBefore)
	dst = appendBytes(dst, r.bucket)
	dst = appendBytes(dst, r.key)
	dst = appendBytes(dst, r.target)
	dst = appendBytes(dst, cut(r.parked))
	dst = appendBytes(dst, cut(r.lastError))
	for _, es := range [2][]Entry{r.writes, r.rivals} {
		dst = binary.AppendUvarint(dst, uint64(len(es)))
		for i := range es {
			dst = appendEntry(dst, &es[i], r.key, r.target)
		}
	}
	return dst
}

// parsePayload undoes appendPayload, or reads a state of an old journal, whose masks are
// about the backends of all. The slices of r point into p.
func (r *record) parsePayload(p []byte, typ byte, all uint64) error {
	*r = record{writes: r.writes[:0], rivals: r.rivals[:0], lean: r.lean}
	d := decoder{p: p, lean: r.lean}
	if typ == typeOldState {
		return r.parseOldState(&d, all)
	}
	flags := d.byte()
	r.targetsLost = flags&flagTargetsLost != 0
	r.rivalsLost = d.byte()
	r.first = d.uint64()
	r.closes = d.uint64()
	r.tries = d.uvarint()
	r.notBefore = d.varint()
	r.bucket, r.key, r.target = d.bytes(), d.bytes(), d.bytes()
	r.parked, r.lastError = d.bytes(), d.bytes()
	for _, es := range [2]*[]Entry{&r.writes, &r.rivals} {
		for n := d.uvarint(); n > 0 && !d.bad; n-- {
			*es = append(*es, Entry{})
			d.entry(&(*es)[len(*es)-1], r.bucket, r.key, r.target)
		}
	}
	if r.first >= maxSeq || r.closes >= maxSeq {
		return errPayload
	}
	return d.end()
}

// entries calls fn for each write and rival.
func (r *record) entries(fn func(e *Entry)) {
	for _, es := range [2][]Entry{r.writes, r.rivals} {
		for i := range es {
			fn(&es[i])
		}
	}
}

func cut(p []byte) []byte { return p[:min(len(p), maxReason)] }

func appendBytes(dst, p []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(p))), p...)
}

var errPayload = errors.New("not a payload of its type")

// methodName makes a string of the usual methods without allocating one.
func methodName(p []byte) string {
	switch string(p) {
	case "PUT":
		return "PUT"
	case "DELETE":
		return "DELETE"
	case "POST":
		return "POST"
	}
	return string(p)
}

// ident is what tells pending keys apart.
type ident struct{ bucket, key, target []byte }

func identOf(e *Entry) ident   { return ident{e.Bucket, e.Key, e.Target} }
func (r *record) ident() ident { return ident{r.bucket, r.key, r.target} }
func (d ident) is(o ident) bool {
	return bytes.Equal(d.bucket, o.bucket) && bytes.Equal(d.key, o.key) && (len(d.key) > 0 || bytes.Equal(d.target, o.target))
}

// append makes bytes of it, for its hash.
func (d ident) append(dst []byte) []byte {
	dst = appendBytes(dst, d.bucket)
	if len(d.key) > 0 {
		return append(append(dst, 1), d.key...)
	}
	return append(append(dst, 0), d.target...)
}

// appendGone appends the payload of a typeGone record.
func appendGone(dst []byte, d ident, closes uint64) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, closes)
	dst = appendBytes(dst, d.bucket)
	dst = appendBytes(dst, d.key)
	if len(d.key) > 0 {
		return appendBytes(dst, nil)
	}
	return appendBytes(dst, d.target)
}

func parseGone(p []byte) (of ident, closes uint64, err error) {
	d := decoder{p: p}
	closes = d.uint64()
	of.bucket, of.key, of.target = d.bytes(), d.bytes(), d.bytes()
	return of, closes, d.end()
}

func parseSettle(p []byte) (seq uint64, err error) {
	d := decoder{p: p}
	seq = d.uint64()
	return seq, d.end()
}

func appendNames(dst []byte, names []string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(names)))
	for _, n := range names {
		dst = binary.AppendUvarint(dst, uint64(len(n)))
		dst = append(dst, n...)
	}
	return dst
}
