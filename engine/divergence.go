package engine

import (
	"bytes"
	"math/bits"
	"strings"
	"time"
)

// settle runs once, when the last leg of a request has its vote: it works out
// what the backends disagree about and records it (R15 to R19, R24, R26).
func (r *request) settle() {
	r.countLegsEnded()
	if r.aborted { // decided before the legs were told: no leg is pending now
		r.endOverlaps(0)
		r.leaveOverlaps()
		return
	}
	stored := r.stored()
	r.endOverlaps(stored)
	if r.also != 0 {
		// The other write may have come since mayWaitLocked has looked: what is written
		// down now keeps nobody waiting.
		r.refs.Add(1)
		go func() {
			defer r.release()
			r.settleStoredSafely(stored)
		}()
		return
	}
	r.settleStored(stored)
}

// settleStored is what is left of settle once it is known where the write is.
func (r *request) settleStored(stored uint64) {
	r.settleJournal()
	if stored == 0 {
		return
	}
	r.recordConcurrent()
	switch {
	case r.kind == kindInitiate || r.kind == kindPart || r.kind == kindUpload:
		// They are about an upload that is one backend's own.
	case r.kind == kindComplete:
		r.recordCompletion(stored)
	case r.kind == kindDelete && r.recordDeletes():
	case r.write:
		r.recordWrite()
	case r.e.o.RecordReads && (r.method == "GET" || r.method == "HEAD"):
		r.recordMissing()
	}
}

// stored is the set of backends that answered positively.
func (r *request) stored() (set uint64) {
	for i := range r.legs {
		if r.legs[i].state == votePositive {
			set |= 1 << r.legs[i].backend
		}
	}
	return set
}

// success is the positive leg that was first, or nil.
func (r *request) success() *leg {
	first := firstPositive(r.votes)
	if first < 0 {
		return nil
	}
	return &r.legs[first]
}

// divergence begins a record about the request.
func (r *request) divergence(op string) Divergence {
	d := Divergence{
		Time: time.Now(), Method: r.method, Path: string(r.raw), UserAgent: string(r.head.userAgent), Op: op,
		Bucket: string(r.target.bucket), Key: r.target.keyName(), Size: r.objectSize(), ID: r.id.String(),
	}
	if r.kind == kindForm {
		d.Key = string(r.formKey(r.votes))
	}
	if l := r.success(); l != nil {
		d.SuccessHost = l.name()
		d.ETag = string(l.etag())
	}
	return d
}

// etag is the object's, without quotes: a field of the answer's head, or an
// element of its body where the object was made from another one or from parts.
func (l *leg) etag() []byte {
	a := &l.answer
	etag := bytes.Trim(a.raw[a.etag.from:a.etag.to], `"`)
	if len(etag) == 0 && (l.r.kind == kindCopy || l.r.kind == kindComplete) {
		etag = bytes.Trim([]byte(unescapeXML(xmlText(l.body, "ETag"))), `"`)
	}
	if len(etag) == 0 && l.r.kind == kindForm {
		_, told := l.location()
		etag = []byte(told)
	}
	return etag
}

// record hands a divergence on. reason is what metrics count it by.
func (r *request) record(d *Divergence, reason string) {
	r.e.o.Metrics.Diverged(d.Op, reason)
	r.e.o.Synclog.Record(d)
}

// recordWrite compares the backends after a write that one of them took.
func (r *request) recordWrite() {
	compare := r.comparesETags()
	if r.skipped == 0 && !r.target.version && r.agreed(compare) {
		return
	}
	d := r.divergence(OpStoring)
	for i := range r.legs {
		l := &r.legs[i]
		d.FailedHost, d.Status = l.name(), l.answer.status
		if l.state != votePositive {
			d.Error = l.err.Error()
			r.record(&d, l.outcome)
			continue
		}
		if r.target.version {
			r.recordVersion(d, r.stored(), l.backend)
			continue
		}
		if r.storedElsewhere(l, r.votes) {
			d.Error = anotherKey
			r.record(&d, "key")
			continue
		}
		if !compare {
			continue
		}
		switch etag := string(l.etag()); {
		case etag == "" || strings.EqualFold(etag, d.ETag):
		case d.ETag == "":
			d.ETag = etag // the first answer had none
		default:
			d.Error = "etag mismatch"
			r.record(&d, "etag")
		}
	}
	r.recordSkipped(&d)
}

// comparesETags tells whether ETags of positive answers ought to be one (R18).
func (r *request) comparesETags() bool {
	return r.e.o.CompareETags && (r.method == "PUT" && !r.target.sub && len(r.target.key) > 0 || r.kind == kindForm)
}

// versionOfAnother is what is wrong with a write to a version: its id is one
// storage's own, and the others have answered about a version that they never had.
const versionOfAnother = "version id"

// recordVersion records a write to a version for a backend, beside another one of
// those that answered positively. Whose version it was does not show, so that each
// of them gets a record.
func (r *request) recordVersion(d Divergence, positive uint64, backend int) {
	others := positive &^ (1 << backend)
	if others == 0 {
		return
	}
	d.Error = versionOfAnother
	d.FailedHost = r.e.o.Backends[backend].Name()
	d.SuccessHost = r.e.o.Backends[bits.TrailingZeros64(others)].Name()
	r.record(&d, "version")
}

// agreed tells whether every leg took the write, and with one ETag where these
// are compared: the usual case, which so costs no allocation.
func (r *request) agreed(compare bool) bool {
	var first []byte
	for i := range r.legs {
		l := &r.legs[i]
		if l.state != votePositive || r.storedElsewhere(l, r.votes) {
			return false
		}
		if !compare {
			continue
		}
		etag := l.etag()
		if len(first) == 0 {
			first = etag
		} else if len(etag) > 0 && !bytes.EqualFold(first, etag) {
			return false
		}
	}
	return true
}

// recordSkipped records a write for the backends that were not asked (R15).
func (r *request) recordSkipped(d *Divergence) {
	d.Status = 0
	for s := r.skipped; s != 0; s &= s - 1 {
		b := bits.TrailingZeros64(s)
		d.FailedHost, d.Error = r.e.o.Backends[b].Name(), r.reasons[b]
		r.record(d, r.reasons[b])
	}
}

// recordMissing: one backend has what another one says it has not (R17).
func (r *request) recordMissing() {
	for i := range r.legs {
		if l := &r.legs[i]; l.state == voteNegative && l.answer.status == 404 {
			d := r.divergence(OpReading)
			d.FailedHost, d.Status, d.Error = l.name(), 404, l.err.Error()
			r.record(&d, "missing")
		}
	}
}

// recordCompletion: an object made from parts is on one backend alone (R26).
func (r *request) recordCompletion(stored uint64) {
	d := r.divergence(OpStoring)
	d.Error = "multipart upload"
	for b, backend := range r.e.o.Backends {
		if stored&(1<<b) == 0 {
			d.FailedHost = backend.Name()
			r.record(&d, "multipart")
		}
	}
}

// endOverlaps tells the table of writes under way how the request has ended, and
// notes the keys that another write overlapped with (R19).
func (r *request) endOverlaps(stored uint64) {
	if r.overlapping {
		r.also = r.endOverlap(r.keyHash, stored)
	}
	for i := range r.deletes {
		if d := &r.deletes[i]; d.write != 0 {
			d.also = r.endOverlap(d.write, stored)
		}
	}
}

// leaveOverlaps takes the request out of the table of writes under way.
func (r *request) leaveOverlaps() {
	if r.overlapping {
		r.overlapping = false
		r.e.writes.leave(r.keyHash)
	}
	for i := range r.deletes {
		if d := &r.deletes[i]; d.write != 0 {
			r.e.writes.leave(d.write)
			d.write = 0
		}
	}
}

// endOverlap returns where the writes may have landed in another order.
func (r *request) endOverlap(hash, stored uint64) uint64 {
	also, concurrent := r.e.writes.end(hash, stored, r.mayBeStored())
	if !concurrent || bits.OnesCount64(also) < 2 {
		return 0
	}
	return also
}

// recordConcurrent records the keys that endOverlaps has noted.
func (r *request) recordConcurrent() {
	r.recordOverlap(r.also, r.target.keyName)
	for i := range r.deletes {
		d := &r.deletes[i]
		r.recordOverlap(d.also, func() string { return d.Key })
	}
}

func (r *request) recordOverlap(also uint64, key func() string) {
	if also == 0 {
		return
	}
	d := r.divergence(OpStoring)
	d.Key, d.Error = key(), outOfOrder
	if r.kind == kindDelete {
		d.Size = 0
	}
	from := bits.TrailingZeros64(also)
	if l := r.success(); l != nil {
		from = l.backend
	}
	d.SuccessHost = r.e.o.Backends[from].Name()
	for s := also &^ (1 << from); s != 0; s &= s - 1 {
		d.FailedHost = r.e.o.Backends[bits.TrailingZeros64(s)].Name()
		r.record(&d, "concurrent")
	}
}

// mayBeStored tells whether a backend may hold what the request wrote: not where
// each one has refused it, nor where the client's body never ended (R6).
func (r *request) mayBeStored() bool {
	for i := range r.legs {
		if l := &r.legs[i]; l.state != voteNegative || l.answer.status >= 500 {
			return !r.aborted
		}
	}
	return false
}
