// Package outcome says who lacks what of a write, and why. That is decided here and nowhere else:
// the journal's entry, the synclog's lines and the metrics' reasons are all derived from it, so that
// none of them can contradict the others (R15 to R20, R24, R26, R34, R35).
package outcome

import (
	"bytes"
	"math/bits"
	"path"

	"github.com/akubra/akubra/engine/pick"
	"github.com/akubra/akubra/s3"
)

// Aspect is the part of a write that a backend lacks.
type Aspect uint8

// What a backend may lack.
const (
	LacksWrite   Aspect = iota // all of it: it did not take the write, or was not asked (R15)
	LacksKey                   // a form's file has another key there (R34)
	LacksETag                  // the content may be another one (R18)
	LacksVersion               // the version: its id is one backend's own (R35)
	LacksParts                 // an object made from parts, which are on one backend alone (R26)
	LacksOrder                 // its place among writes that overlapped may be another one (R19)
)

// What the journal and the synclog say about them, besides the errors of legs.
const (
	ETagMismatch     = "etag mismatch"
	VersionOfAnother = "version id"
	MultipartUpload  = "multipart upload"
	OutOfOrder       = "concurrent writes"
	AnotherKey       = "stored under another key"
)

// Nobody stands for no backend, or no leg.
const Nobody = -1

// Lack is what one backend lacks of a write.
type Lack struct {
	Backend int
	// Beside is the backend that the synclog names as having it. If that is Nobody there is no
	// line (R16); the backend owes the write all the same.
	Beside int
	Aspect Aspect
	Status int    // of the backend's answer; 0 where there is none, or it is no reason
	Reason string // what metrics count it by
	Err    string
	ETag   []byte // the object's, as far as the legs before this one know it
}

// Outcome is what has become of a write so far.
type Outcome struct {
	Took   uint64 // backends that took it
	Out    uint64 // backends whose legs are still out
	Unsure uint64 // backends that may have taken it, although they do not say so
	// Owed are the backends that may not have the write, or not the same one. If only the order
	// may be wrong, they include all that took one of the writes, unless a backend is known to
	// lack the write: then repair goes by who took it.
	Owed  uint64
	Why   string // of Owed; "" where it is only legs that are out
	Key   string // of a form's file
	Lacks []Lack // in the order of the synclog's lines, but for LacksOrder, whose lines come first
}

// Reason is why something is owed, as the journal takes it.
func (o *Outcome) Reason() []byte {
	if o.Why == "" {
		return nil
	}
	return []byte(o.Why)
}

// Leg is what is known of a write at one backend.
type Leg struct {
	Backend int
	pick.Vote
	Status  int    // of the answer; 0 if there is none
	Outcome string // how the leg has ended (engine.Outcome…), or why the backend was skipped
	Err     string // why State is not Positive
	ETag    []byte // without quotes; nil where the answer does not tell
	Key     string // of a form's file, as the answer tells
	Acted   bool   // it gave no answer, and had all of the message, or some of one that is not repeated
	// For a key of a multi-object delete with a positive answer: why it is not deleted, and
	// whether that is because the answer does not say what has become of it.
	Problem string
	Unknown bool
}

func (f *Leg) took() bool { return f.State == pick.Positive && f.Problem == "" }

// mayHaveTaken reports whether the backend may have taken the write although it gave no positive
// answer: it had all of it, or some of what must not be repeated (R33), or has failed at it. A 503
// is a refusal (S3 API reference, "SlowDown", "ServiceUnavailable"), and so is a 501 (RFC 9110 §15.6.2).
func (f *Leg) mayHaveTaken() bool {
	return f.Acted || f.State == pick.Negative && f.Status >= 500 && f.Status != 501 && f.Status != 503
}

// Write is everything that WhoLacks considers.
type Write struct {
	Kind       s3.Kind
	Listed     bool   // the write is one key of a multi-object delete (R24)
	Version    bool   // it is to one version
	Compare    bool   // ETags ought to be one (R18)
	Key        string // of a form's file, as the form tells
	Bucket     bool   // which bucket a form's file is in is known
	All        uint64 // every backend
	Overlapped uint64 // where the write or one that overlapped may be (R19); once no leg is out
	// Legs are those of the request, in its order, followed by a failed one for each backend that
	// was skipped.
	Legs []Leg
}

// WhoLacks compares the backends after a write, or while legs are out.
//
// It is a pure function of its argument.
func WhoLacks(w *Write) Outcome {
	o := Outcome{Key: w.Key}
	first := Nobody
	for i := range w.Legs {
		f := &w.Legs[i]
		switch {
		case f.State == pick.Pending:
			o.Out |= 1 << f.Backend
		case f.took():
			o.Took |= 1 << f.Backend
		case f.mayHaveTaken():
			o.Unsure |= 1 << f.Backend
		}
		if f.State == pick.Positive && (first < 0 || f.Order < w.Legs[first].Order) {
			first = i
		}
	}
	switch w.Kind {
	case s3.KindInitiate, s3.KindPart, s3.KindUpload:
		// They concern an upload that is one backend's own (R26).
	case s3.KindComplete:
		w.lackParts(&o, first)
	default:
		w.lackWrite(&o, first)
	}
	o.Owed = o.Out
	for i := range o.Lacks {
		o.Owed |= 1 << o.Lacks[i].Backend
	}
	if o.Out == 0 && w.Overlapped != 0 {
		var etag []byte
		if first >= 0 {
			etag = w.Legs[first].ETag
		}
		o.LackOrder(w.Overlapped, w.backendOf(first), etag)
	}
	return o
}

// lackWrite examines a write that every backend should have. first is the leg that was positive
// first, or nobody.
func (w *Write) lackWrite(o *Outcome, first int) {
	from := first
	if w.Listed {
		from = w.deletedFirst()
	}
	versions := w.Version && w.All&(w.All-1) != 0
	if w.Listed && from < 0 && !versions {
		return // a key that nobody has deleted is as it was
	}
	beside := w.backendOf(from)
	var etag, reference []byte
	if first >= 0 && !w.Listed {
		etag = w.Legs[first].ETag
	}
	// All know a form's file by the key that the first one reports, because not all can tell what
	// ${filename} stands for.
	if first >= 0 && w.Bucket && w.isElsewhere(first, o.Key) {
		o.Key = w.Legs[first].Key
	}
	differ := w.Compare && w.etagsDiffer(first, o.Key)
	for i := range w.Legs {
		f := &w.Legs[i]
		l := Lack{Backend: f.Backend, Beside: beside, Status: f.Status, ETag: etag}
		switch {
		case f.State == pick.Pending:
			continue
		case !f.took():
			l.Aspect, l.Reason, l.Err = LacksWrite, f.Outcome, f.Err
			if f.Problem != "" {
				l.Err = f.Problem
			}
			if i == from { // its answer does not say
				l.Beside = Nobody
			}
			if o.Why == "" || w.Listed {
				o.Why = l.Err
			}
		case versions:
			// The others have answered about a version that they never had. It is not known whose
			// it was, so each is listed beside another one.
			l.Aspect, l.Reason, l.Err = LacksVersion, "version", VersionOfAnother
			l.Beside = lowest(o.Took &^ (1 << f.Backend))
		case i != first && w.isElsewhere(i, o.Key):
			l.Aspect, l.Reason, l.Err = LacksKey, "key", AnotherKey
			o.Why = AnotherKey
		case w.Compare:
			if Differs(f.ETag, reference) {
				o.Why = ETagMismatch
			} else if len(reference) == 0 {
				reference = f.ETag
			}
			if !Differs(f.ETag, etag) {
				l.Beside = Nobody
			}
			if len(etag) == 0 {
				etag = f.ETag // the first answer had none
			}
			if !differ {
				continue
			}
			// Each of them lacks it, because it is not known here which one is right.
			l.Aspect, l.Reason, l.Err = LacksETag, "etag", ETagMismatch
		default:
			continue
		}
		o.Lacks = append(o.Lacks, l)
	}
	if versions {
		o.Why = VersionOfAnother
	}
}

// deletedFirst is the first leg that deleted a key of a multi-object delete, or else the first
// that may have: one whose positive answer does not say.
func (w *Write) deletedFirst() int {
	perhaps := Nobody
	for i := range w.Legs {
		if w.Legs[i].took() {
			return i
		}
		if perhaps < 0 && w.Legs[i].Unknown {
			perhaps = i
		}
	}
	return perhaps
}

// isElsewhere reports whether a leg's backend says that it has stored a form's file under a
// different key.
func (w *Write) isElsewhere(leg int, key string) bool {
	told := w.Legs[leg].Key
	return told != "" && !sameKey(told, key)
}

// sameKey reports whether a reported key is this one: some backends remove slashes from both ends,
// of the key or of what they report.
func sameKey(told, key string) bool { return path.Clean("/"+told) == path.Clean("/"+key) }

// etagsDiffer reports whether two backends have stored a write with different ETags (R18).
func (w *Write) etagsDiffer(first int, key string) bool {
	var etag []byte
	for i := range w.Legs {
		f := &w.Legs[i]
		switch {
		case !f.took() || i != first && w.isElsewhere(i, key):
		case Differs(f.ETag, etag):
			return true
		case len(etag) == 0:
			etag = f.ETag
		}
	}
	return false
}

// Differs reports whether both ETags are known and not equal.
func Differs(a, b []byte) bool { return len(a) > 0 && len(b) > 0 && !bytes.EqualFold(a, b) }

// lackParts examines an object made from parts, which is on one backend only. Some backends answer that
// an upload they do not know is completed, if they have an object under its key: if several say so, it
// is not known whose the upload was.
func (w *Write) lackParts(o *Outcome, first int) {
	from := w.backendOf(first)
	l := Lack{Aspect: LacksParts, Reason: "multipart", Err: MultipartUpload}
	o.Why = MultipartUpload
	if first >= 0 {
		l.ETag = w.Legs[first].ETag
	}
	for i := range w.Legs {
		if f := &w.Legs[i]; first < 0 && f.Err != "" {
			o.Why = f.Err
			break
		}
	}
	for s := w.All; s != 0; s &= s - 1 {
		l.Backend, l.Beside = bits.TrailingZeros64(s), from
		doubtful := o.Took&(o.Took-1) != 0
		if o.Took&(1<<l.Backend) != 0 {
			l.Beside = Nobody
		}
		if l.Backend != from || doubtful {
			o.Lacks = append(o.Lacks, l)
		}
	}
}

// LackOrder examines overlapping writes, which may have landed in a different order on each
// backend. from is the backend that took this write first, with that ETag, or nobody.
func (o *Outcome) LackOrder(overlapped uint64, from int, etag []byte) {
	if o.Owed == 0 {
		o.Owed, o.Why = overlapped, OutOfOrder
	}
	if from < 0 {
		from = lowest(overlapped)
	}
	if o.Lacks == nil {
		o.Lacks = make([]Lack, 0, bits.OnesCount64(overlapped))
	}
	l := Lack{Aspect: LacksOrder, Reason: "concurrent", Err: OutOfOrder, ETag: etag}
	for s := overlapped; s != 0; s &= s - 1 {
		if l.Backend, l.Beside = bits.TrailingZeros64(s), from; l.Backend == from {
			l.Beside = Nobody
		}
		o.Lacks = append(o.Lacks, l)
	}
}

func (w *Write) backendOf(leg int) int {
	if leg < 0 {
		return Nobody
	}
	return w.Legs[leg].Backend
}

// lowest is the first backend of a set, or nobody.
func lowest(set uint64) int {
	if set == 0 {
		return Nobody
	}
	return bits.TrailingZeros64(set)
}
