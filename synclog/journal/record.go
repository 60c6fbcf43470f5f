package journal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"time"
)

// Types of records.
const (
	typeNames  = 1 // the names of a segment's backends, its first record
	typeIntent = 2 // an entry whose legs are under way
	typeState  = 3 // all that is known of a key: it replaces what was known before
	typeSettle = 4 // an intent has ended, and owes nothing
	typeGone   = 5 // a key is not pending any more
	// In a checkpoint:
	typeBegin   = 16
	typeOpens   = 17
	typeKeys    = 18
	typeMasks   = 19
	typeLast    = typeMasks
	frameLen    = 9 // CRC, length, type
	maxPayload  = 1 << 20
	maxReason   = 1 << 10 // of Reason and LastError; what is longer is cut
	maxOverhead = 256     // of a payload, beyond its strings
	maxSeq      = 1 << 63 // far in the future, far from an overflow
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

// record is an intent or a state. Its byte slices are borrowed.
type record struct {
	Entry
	first     uint64
	closes    uint64 // the intent that ends with this state; 0: none
	tries     uint64
	notBefore int64 // Unix ns; 0: at once
	parked    bool
	lastError []byte
}

const flagParked = 1 << 0

// appendPayload appends the payload of an intent or a state.
func (r *record) appendPayload(dst []byte, typ byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, r.Seq)
	flags := byte(0)
	if r.parked {
		flags |= flagParked
	}
	dst = append(dst, r.Aux, flags)
	dst = binary.AppendUvarint(dst, r.Owed)
	dst = binary.AppendVarint(dst, r.Size)
	if typ == typeState {
		dst = binary.LittleEndian.AppendUint64(dst, r.first)
		dst = binary.LittleEndian.AppendUint64(dst, r.closes)
		dst = binary.AppendUvarint(dst, r.tries)
		dst = binary.AppendVarint(dst, r.notBefore)
	}
	dst = binary.AppendUvarint(dst, uint64(len(r.Method)))
	dst = append(dst, r.Method...)
	dst = appendBytes(dst, r.Bucket)
	dst = appendBytes(dst, r.Key)
	dst = appendBytes(dst, r.Target)
	dst = appendBytes(dst, r.Host)
	dst = appendBytes(dst, r.ETag)
	dst = appendBytes(dst, r.ID)
	dst = appendBytes(dst, cut(r.Reason))
	if typ == typeState {
		dst = appendBytes(dst, cut(r.lastError))
	}
	return dst
}

func cut(p []byte) []byte { return p[:min(len(p), maxReason)] }

func appendBytes(dst, p []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(p))), p...)
}

var errPayload = errors.New("not a payload of its type")

// parsePayload undoes appendPayload. The slices of r point into p.
func (r *record) parsePayload(p []byte, typ byte) error {
	d := decoder{p: p}
	*r = record{}
	r.Seq = d.uint64()
	r.Aux = d.byte()
	flags := d.byte()
	r.Owed = d.uvarint()
	r.Size = d.varint()
	r.Open = typ == typeIntent
	if typ == typeState {
		r.parked = flags&flagParked != 0
		r.first = d.uint64()
		r.closes = d.uint64()
		r.tries = d.uvarint()
		r.notBefore = d.varint()
	}
	r.Method = methodName(d.bytes())
	r.Bucket = d.bytes()
	r.Key = d.bytes()
	r.Target = d.bytes()
	r.Host = d.bytes()
	r.ETag = d.bytes()
	r.ID = d.bytes()
	r.Reason = d.bytes()
	if typ == typeState {
		r.lastError = d.bytes()
	}
	if r.Seq >= maxSeq || r.first >= maxSeq || r.closes >= maxSeq {
		return errPayload
	}
	return d.end()
}

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

// decoder reads a payload's fields; after the first one that is not there they
// are all empty, and end tells.
type decoder struct {
	p   []byte
	bad bool
}

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.p)) {
		d.bad = true
		d.p = nil
		return nil
	}
	p := d.p[:n:n]
	d.p = d.p[n:]
	return p
}

func (d *decoder) byte() byte {
	if p := d.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (d *decoder) uint16() uint16 {
	if p := d.take(2); p != nil {
		return binary.LittleEndian.Uint16(p)
	}
	return 0
}

func (d *decoder) uint32() uint32 {
	if p := d.take(4); p != nil {
		return binary.LittleEndian.Uint32(p)
	}
	return 0
}

func (d *decoder) uint64() uint64 {
	if p := d.take(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.p)
	if n <= 0 {
		d.take(uint64(len(d.p)) + 1)
		return 0
	}
	d.p = d.p[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.p)
	if n <= 0 {
		d.take(uint64(len(d.p)) + 1)
		return 0
	}
	d.p = d.p[n:]
	return v
}

func (d *decoder) bytes() []byte { return d.take(d.uvarint()) }

func (d *decoder) end() error {
	if d.bad || len(d.p) > 0 {
		return errPayload
	}
	return nil
}

// appendIdent appends what tells pending keys apart.
func appendIdent(dst []byte, e *Entry) []byte {
	dst = appendBytes(dst, e.Bucket)
	if len(e.Key) > 0 {
		return append(append(dst, 1), e.Key...)
	}
	return append(append(dst, 0), e.Target...)
}

// appendGone appends the payload of a typeGone record.
func appendGone(dst []byte, e *Entry, closes uint64) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, closes)
	dst = appendBytes(dst, e.Bucket)
	dst = appendBytes(dst, e.Key)
	if len(e.Key) > 0 {
		return appendBytes(dst, nil)
	}
	return appendBytes(dst, e.Target)
}

func parseGone(p []byte) (e Entry, closes uint64, err error) {
	d := decoder{p: p}
	closes = d.uint64()
	e.Bucket, e.Key, e.Target = d.bytes(), d.bytes(), d.bytes()
	return e, closes, d.end()
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

func (d *decoder) names() []string {
	n := d.uvarint()
	if n > maxNames {
		d.take(uint64(len(d.p)) + 1)
		return nil
	}
	names := make([]string, n)
	for i := range names {
		names[i] = string(d.bytes())
	}
	return names
}

// standing is how much a record may say about its key: a write that a client was
// told of most, then one that nobody knows the outcome of, or that was to a version and
// may or may not have changed what is there, then a difference that was found.
func (r *record) standing() int {
	switch {
	case r.Method == "":
		return 0
	case r.Aux&(AuxUnacknowledged|AuxVersion) != 0:
		return 1
	}
	return 2
}

// newer reports whether a stands for the key rather than b: by standing, then by age.
func newer(a, b *record) bool {
	if x, y := a.standing(), b.standing(); x != y {
		return x > y
	}
	return a.Seq > b.Seq
}

// owedOf is what is owed after both. Who has taken the last acknowledged write is
// worth knowing, for it is that which repair spreads: what was owed before it, and
// an entry of less standing, which suspects every backend, do not blur it. Who is
// not owed then may still have to be given it, if an older write lands on it late;
// repair looks at all backends whoever is owed.
func owedOf(a, b *record) uint64 {
	if newer(b, a) {
		a, b = b, a
	}
	if a.standing() == 2 && a.Owed != 0 && a.Aux&AuxSubresource == 0 {
		return a.Owed
	}
	return a.Owed | b.Owed
}

// merge is the state of a key after e, which has ended, where it was old.
func merge(old, e *record) record {
	m := *old
	if newer(e, old) {
		m = *e
		if len(m.Reason) == 0 {
			m.Reason = old.Reason
		}
	} else if e.Owed != 0 && len(e.Reason) > 0 {
		m.Reason = e.Reason
	}
	m.Open = false
	m.Owed = owedOf(old, e)
	switch {
	case m.Owed == 0:
		m.first = m.Seq
	case old.Owed == 0:
		m.first = e.Seq
	case e.Owed == 0:
		m.first = old.first
	default:
		m.first = min(old.first, e.Seq)
	}
	m.Aux |= (old.Aux | e.Aux) & (AuxMixed | AuxOverlapped)
	if m.standing() == 2 && (old.standing() < 2 && old.Seq > m.Seq || e.standing() < 2 && e.Seq > m.Seq) {
		m.Aux |= AuxDoubt
	}
	if (old.Aux^e.Aux)&AuxSubresource != 0 {
		m.Aux |= AuxMixed
	}
	// The key has changed: what was tried before says nothing about it now.
	m.tries, m.notBefore, m.parked, m.lastError = 0, 0, false, nil
	return m
}

// pending is the record as it is handed out. It shares the record's memory.
func (r *record) pending(mine uint64) Pending {
	p := Pending{
		Entry: r.Entry, First: r.first, Tries: int(r.tries), Parked: r.parked, LastError: string(r.lastError),
	}
	if r.notBefore != 0 {
		p.NotBefore = time.Unix(0, r.notBefore)
	}
	p.Owed &= mine
	return p
}

// own gives p memory of its own.
func (p *Pending) own() {
	for _, f := range []*[]byte{&p.Target, &p.Host, &p.Bucket, &p.Key, &p.ETag, &p.ID, &p.Reason} {
		*f = slices.Clone(*f)
	}
}
