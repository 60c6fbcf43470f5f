package engine

import (
	"errors"
	"math/bits"

	"github.com/akubra/akubra/engine/content"
	"github.com/akubra/akubra/engine/outcome"
	"github.com/akubra/akubra/s3"
)

// outcome is what has become of the request's write, as the votes stand; of a multi-object delete
// as a whole, not of its keys.
func (r *request) outcome(votes []vote) outcome.Outcome {
	took, out, well := r.goesWell(votes)
	if !well {
		w := r.facts(votes)
		return outcome.WhoLacks(&w)
	}
	o := outcome.Outcome{Took: took, Out: out, Owed: out}
	// While a leg is out, unordered is not known yet, and the leg's goroutine may be writing it.
	if out == 0 && r.ledger.unordered != 0 {
		first := &r.legs[firstPositive(votes)]
		o.LackOrder(r.ledger.unordered, first.backend, first.etag())
	}
	return o
}

// goesWell reports whether nothing has gone wrong so far: no backend was skipped, and each leg
// that has ended took the write as the others did; the order of overlapping writes is a separate
// matter. It saves the usual case from calling WhoLacks and its allocations. It may return false
// where WhoLacks finds that nobody lacks anything.
func (r *request) goesWell(votes []vote) (took, out uint64, well bool) {
	switch {
	case !r.head.is(s3.KindPlain) && !r.head.is(s3.KindCopy):
		return 0, 0, false
	case r.race.skipped != 0 || r.head.target.Version && len(r.e.o.Backends) > 1:
		return 0, 0, false
	}
	compare := r.comparesETags(votes)
	var first []byte
	for i := range votes {
		l := &r.legs[i]
		switch votes[i].State {
		case votePending:
			out |= 1 << l.backend
			continue
		case votePositive:
			took |= 1 << l.backend
		default:
			return 0, 0, false
		}
		if !compare {
			continue
		}
		switch etag := l.etag(); {
		case outcome.Differs(etag, first):
			return 0, 0, false
		case len(first) == 0:
			first = etag
		}
	}
	return took, out, true
}

// facts are the request's facts, as the votes stand. Nothing else is read of a leg that is out,
// because it belongs to that leg's goroutine.
func (r *request) facts(votes []vote) outcome.Write {
	w := outcome.Write{
		Kind: r.head.kind, Version: r.head.target.Version && !r.race.hasOwnVersion(), Compare: r.comparesETags(votes), Bucket: len(r.head.target.Bucket) > 0,
		All: r.e.all, Legs: make([]outcome.Leg, 0, len(r.e.o.Backends)),
	}
	if r.head.is(s3.KindForm) {
		w.Key = string(r.ledger.key)
	}
	open := false
	for i := range votes {
		l := &r.legs[i]
		f := outcome.Leg{Backend: l.backend, Vote: votes[i]}
		switch f.State {
		case votePending:
			open = true
			w.Legs = append(w.Legs, f)
			continue
		case votePositive:
			f.ETag = l.etag()
			if r.head.is(s3.KindForm) {
				f.Key, _ = l.location()
			}
		case voteFailed:
			f.Acted = l.sentAll.Load() || l.mayHaveStored() && !errors.Is(l.err, errUndecided) // it was kept from the end
			f.Err = l.err.Error()
		case voteNegative:
			f.Err = l.err.Error()
		}
		f.Status, f.Outcome = l.answer.Status, l.outcome
		w.Legs = append(w.Legs, f)
	}
	for s := r.race.skipped; s != 0; s &= s - 1 {
		b := bits.TrailingZeros64(s)
		w.Legs = append(w.Legs, outcome.Leg{Backend: b, Vote: vote{State: voteFailed}, Outcome: r.race.reasonOf(b), Err: r.race.reasons[b]})
	}
	if !open {
		w.Overlapped = r.ledger.unordered
	}
	return w
}

// comparesETags reports whether the ETags of positive answers should be equal (R18). They need not
// be where each backend has encrypted the object with a key that makes its ETag no MD5 of the content
// (SSE-C, SSE-KMS; S3 API reference, Object).
func (r *request) comparesETags(votes []vote) bool {
	if !r.o.CompareETags || !r.head.hasETag() {
		return false
	}
	encrypted := false
	for i := range votes {
		switch {
		case votes[i].State != votePositive:
		case r.legs[i].answer.OwnETag:
			encrypted = true
		default:
			return true
		}
	}
	return !encrypted
}

// etag is the object's ETag without quotes: a field of the answer's head, or an element of its
// body if the object was made from another one or from parts.
func (l *leg) etag() []byte {
	a := &l.answer
	etag := s3.Unquote(a.ETag())
	if len(etag) == 0 && (l.r.head.is(s3.KindCopy) || l.r.head.is(s3.KindComplete)) {
		etag = []byte(s3.Unquote(s3.UnescapeText(s3.Text(l.body, "ETag"))))
	}
	if len(etag) == 0 && l.r.head.is(s3.KindForm) {
		_, told := l.location()
		etag = []byte(told)
	}
	return etag
}

// deleteFacts are the facts of a multi-object delete, without those of its keys.
type deleteFacts struct {
	outcome.Write
	answers []content.Deletions // of the request's legs
	told    uint64              // whose answer the client gets, which names the keys that are not deleted
}

func (r *request) deleteFacts(votes []vote) deleteFacts {
	w := deleteFacts{Write: r.facts(votes), answers: make([]content.Deletions, len(votes))}
	w.Listed, w.told = true, r.told()
	for i := range votes {
		if votes[i].State == votePositive {
			w.answers[i] = r.legs[i].deletions()
		}
	}
	return w
}

// outcomeOf is what has become of one key, which is a write like any other (R24).
func (w *deleteFacts) outcomeOf(d *deletion) outcome.Outcome {
	w.Version, w.Overlapped = s3.IsVersion(d.VersionID), 0
	open := false
	for i := range w.answers {
		open = open || w.Legs[i].State == votePending
		w.Legs[i].Problem, w.Legs[i].Unknown = w.answers[i].Problem(d.Object), w.answers[i].Unknown(d.Object)
	}
	if !open {
		w.Overlapped = d.unordered
	}
	return outcome.WhoLacks(&w.Write)
}

// landing is where a key of a multi-object delete was deleted, whatever was deleted of it.
type landing struct {
	stored uint64 // backends that have deleted it, or whose positive answer does not say
	unsure uint64 // others that may have deleted it
}

// landings are those of all keys. A positive answer may name keys that are not deleted.
func (w *deleteFacts) landings(list []deletion) map[string]landing {
	landed := make(map[string]landing, len(list))
	for i := range list {
		o, l := w.outcomeOf(&list[i]), landed[list[i].Key]
		for j := range w.Legs {
			if w.Legs[j].Unknown {
				l.stored |= 1 << w.Legs[j].Backend
			}
		}
		landed[list[i].Key] = landing{stored: l.stored | o.Took, unsure: l.unsure | o.Unsure}
	}
	return landed
}
