package engine

import (
	"bytes"
	"math/bits"

	"github.com/akubra/akubra/s3"
)

// Who lacks what of a write, and why, is decided here and nowhere else. The journal's entry, the
// synclog's lines and the metrics' reasons are all derived from it, so that none of them can
// contradict the others (R15 to R20, R24, R26, R34, R35).

// aspect is the part of a write that a backend lacks.
type aspect uint8

const (
	lacksWrite   aspect = iota // all of it: it did not take the write, or was not asked (R15)
	lacksKey                   // a form's file has another key there (R34)
	lacksETag                  // the content may be another one (R18)
	lacksVersion               // the version: its id is one backend's own (R35)
	lacksParts                 // an object made from parts, which are on one backend alone (R26)
	lacksOrder                 // its place among writes that overlapped may be another one (R19)
)

// What the journal and the synclog say about them, besides the errors of legs.
const (
	etagMismatch     = "etag mismatch"
	versionOfAnother = "version id"
	multipartUpload  = "multipart upload"
	outOfOrder       = "concurrent writes"
)

// nobody stands for no backend, or no leg.
const nobody = -1

// lack is what one backend lacks of a write.
type lack struct {
	backend int
	// beside is the backend that the synclog names as having it. If that is nobody there is no
	// line (R16); the backend owes the write all the same.
	beside int
	aspect aspect
	status int    // of the backend's answer; 0 where there is none, or it is no reason
	reason string // what metrics count it by
	err    string
	etag   []byte // the object's, as far as the legs before this one know it
}

// outcome is what has become of a write so far.
type outcome struct {
	took   uint64 // backends that took it
	out    uint64 // backends whose legs are still out
	unsure uint64 // backends that may have taken it, although they do not say so
	// owed are the backends that may not have the write, or not the same one. If only the order
	// may be wrong, they include all that took one of the writes, unless a backend is known to
	// lack the write: then repair goes by who took it.
	owed  uint64
	why   string // of owed; "" where it is only legs that are out
	key   string // of a form's file
	lacks []lack // in the order of the synclog's lines, but for lacksOrder, whose lines come first
}

// reason is why something is owed, as the journal takes it.
func (o *outcome) reason() []byte {
	if o.why == "" {
		return nil
	}
	return []byte(o.why)
}

// legFacts is what is known of a write at one backend.
type legFacts struct {
	backend int
	vote
	status  int    // of the answer; 0 if there is none
	outcome string // how the leg has ended (Outcome…), or why the backend was skipped
	err     string // why state is not votePositive
	etag    []byte // without quotes; nil where the answer does not tell
	key     string // of a form's file, as the answer tells
	acted   bool   // it gave no answer, and had all of the message, or some of one that is not repeated
	// For a key of a multi-object delete with a positive answer: why it is not deleted, and
	// whether that is because the answer cannot be read.
	problem    string
	unreadable bool
}

func (f *legFacts) took() bool { return f.State == votePositive && f.problem == "" }

// mayHaveTaken reports whether the backend may have taken the write although it gave no positive
// answer: it had all of it, or some of what must not be repeated (R33), or has failed at it. A 503
// is a refusal (S3 API reference, "SlowDown", "ServiceUnavailable").
func (f *legFacts) mayHaveTaken() bool {
	return f.acted || f.State == voteNegative && f.status >= 500 && f.status != 503
}

// writeFacts is everything that whoLacks considers.
type writeFacts struct {
	kind       s3.Kind
	listed     bool   // the write is one key of a multi-object delete (R24)
	version    bool   // it is to one version
	compare    bool   // ETags ought to be one (R18)
	key        string // of a form's file, as the form tells
	bucket     bool   // which bucket a form's file is in is known
	all        uint64 // every backend
	overlapped uint64 // where the write or one that overlapped may be (R19); once no leg is out
	// legs are those of the request, in its order, followed by a failed one for each backend that
	// was skipped.
	legs []legFacts
}

// whoLacks compares the backends after a write, or while legs are out.
//
// It is a pure function of its argument.
func whoLacks(w *writeFacts) outcome {
	o := outcome{key: w.key}
	first := nobody
	for i := range w.legs {
		f := &w.legs[i]
		switch {
		case f.State == votePending:
			o.out |= 1 << f.backend
		case f.took():
			o.took |= 1 << f.backend
		case f.mayHaveTaken():
			o.unsure |= 1 << f.backend
		}
		if f.State == votePositive && (first < 0 || f.Order < w.legs[first].Order) {
			first = i
		}
	}
	switch w.kind {
	case s3.KindInitiate, s3.KindPart, s3.KindUpload:
		// They concern an upload that is one backend's own (R26).
	case s3.KindComplete:
		w.lackParts(&o, first)
	default:
		w.lackWrite(&o, first)
	}
	o.owed = o.out
	for i := range o.lacks {
		o.owed |= 1 << o.lacks[i].backend
	}
	if o.out == 0 && w.overlapped != 0 {
		var etag []byte
		if first >= 0 {
			etag = w.legs[first].etag
		}
		o.lackOrder(w.overlapped, w.backendOf(first), etag)
	}
	return o
}

// lackWrite examines a write that every backend should have. first is the leg that was positive
// first, or nobody.
func (w *writeFacts) lackWrite(o *outcome, first int) {
	from := first
	if w.listed {
		from = w.deletedFirst()
	}
	versions := w.version && w.all&(w.all-1) != 0
	if w.listed && from < 0 && !versions {
		return // a key that nobody has deleted is as it was
	}
	beside := w.backendOf(from)
	var etag, reference []byte
	if first >= 0 && !w.listed {
		etag = w.legs[first].etag
	}
	// All know a form's file by the key that the first one reports, because not all can tell what
	// ${filename} stands for.
	if first >= 0 && w.bucket && w.isElsewhere(first, o.key) {
		o.key = w.legs[first].key
	}
	differ := w.compare && w.etagsDiffer(first, o.key)
	for i := range w.legs {
		f := &w.legs[i]
		l := lack{backend: f.backend, beside: beside, status: f.status, etag: etag}
		switch {
		case f.State == votePending:
			continue
		case !f.took():
			l.aspect, l.reason, l.err = lacksWrite, f.outcome, f.err
			if f.problem != "" {
				l.err = f.problem
			}
			if i == from { // its answer cannot be read
				l.beside = nobody
			}
			if o.why == "" || w.listed {
				o.why = l.err
			}
		case versions:
			// The others have answered about a version that they never had. It is not known whose
			// it was, so each is listed beside another one.
			l.aspect, l.reason, l.err = lacksVersion, "version", versionOfAnother
			l.beside = lowest(o.took &^ (1 << f.backend))
		case i != first && w.isElsewhere(i, o.key):
			l.aspect, l.reason, l.err = lacksKey, "key", anotherKey
			o.why = anotherKey
		case w.compare:
			if differs(f.etag, reference) {
				o.why = etagMismatch
			} else if len(reference) == 0 {
				reference = f.etag
			}
			if !differs(f.etag, etag) {
				l.beside = nobody
			}
			if len(etag) == 0 {
				etag = f.etag // the first answer had none
			}
			if !differ {
				continue
			}
			// Each of them lacks it, because it is not known here which one is right.
			l.aspect, l.reason, l.err = lacksETag, "etag", etagMismatch
		default:
			continue
		}
		o.lacks = append(o.lacks, l)
	}
	if versions {
		o.why = versionOfAnother
	}
}

// deletedFirst is the first leg that deleted a key of a multi-object delete, or else the first
// that may have: one whose positive answer cannot be read.
func (w *writeFacts) deletedFirst() int {
	perhaps := nobody
	for i := range w.legs {
		if w.legs[i].took() {
			return i
		}
		if perhaps < 0 && w.legs[i].unreadable {
			perhaps = i
		}
	}
	return perhaps
}

// isElsewhere reports whether a leg's backend says that it has stored a form's file under a
// different key.
func (w *writeFacts) isElsewhere(leg int, key string) bool {
	told := w.legs[leg].key
	return told != "" && !sameFormKey(told, key)
}

// etagsDiffer reports whether two backends have stored a write with different ETags (R18).
func (w *writeFacts) etagsDiffer(first int, key string) bool {
	var etag []byte
	for i := range w.legs {
		f := &w.legs[i]
		switch {
		case !f.took() || i != first && w.isElsewhere(i, key):
		case differs(f.etag, etag):
			return true
		case len(etag) == 0:
			etag = f.etag
		}
	}
	return false
}

// differs reports whether both ETags are known and not equal.
func differs(a, b []byte) bool { return len(a) > 0 && len(b) > 0 && !bytes.EqualFold(a, b) }

// lackParts examines an object made from parts, which is on one backend only.
func (w *writeFacts) lackParts(o *outcome, first int) {
	from := w.backendOf(first)
	l := lack{aspect: lacksParts, reason: "multipart", err: multipartUpload}
	o.why = multipartUpload
	if first >= 0 {
		l.etag = w.legs[first].etag
	}
	for i := range w.legs {
		if f := &w.legs[i]; first < 0 && f.err != "" {
			o.why = f.err
			break
		}
	}
	for s := w.all; s != 0; s &= s - 1 {
		l.backend, l.beside = bits.TrailingZeros64(s), from
		if o.took&(1<<l.backend) != 0 {
			l.beside = nobody
		}
		if l.backend != from {
			o.lacks = append(o.lacks, l)
		}
	}
}

// lackOrder examines overlapping writes, which may have landed in a different order on each
// backend. from is the backend that took this write first, with that ETag, or nobody.
func (o *outcome) lackOrder(overlapped uint64, from int, etag []byte) {
	if o.owed == 0 {
		o.owed, o.why = overlapped, outOfOrder
	}
	if from < 0 {
		from = lowest(overlapped)
	}
	if o.lacks == nil {
		o.lacks = make([]lack, 0, bits.OnesCount64(overlapped))
	}
	l := lack{aspect: lacksOrder, reason: "concurrent", err: outOfOrder, etag: etag}
	for s := overlapped; s != 0; s &= s - 1 {
		if l.backend, l.beside = bits.TrailingZeros64(s), from; l.backend == from {
			l.beside = nobody
		}
		o.lacks = append(o.lacks, l)
	}
}

func (w *writeFacts) backendOf(leg int) int {
	if leg < 0 {
		return nobody
	}
	return w.legs[leg].backend
}

// lowest is the first backend of a set, or nobody.
func lowest(set uint64) int {
	if set == 0 {
		return nobody
	}
	return bits.TrailingZeros64(set)
}
