package engine

import (
	"encoding/xml"
	"math/bits"
	"time"
)

// deleteResult is its answer. In quiet mode it names errors alone.
type deleteResult struct {
	XMLName xml.Name      `xml:"DeleteResult"`
	Errors  []deleteError `xml:"Error"`
}

type deletedObject struct {
	Key       string
	VersionID string `xml:"VersionId"`
}

// deletion is one object that is to be deleted. write is its key in the table of
// writes under way (R19), 0 where an object before it has the same one.
type deletion struct {
	deletedObject
	write uint64
	began uint64 // as a request's
	seq   uint64 // as a request's
	slot  int32  // as a request's
	also  uint64 // as a request's
}

type deleteError struct {
	Key       string
	VersionID string `xml:"VersionId"`
	Code      string
}

// deletions is what a backend did with each key: why it has not deleted it, or
// nothing.
type deletions struct {
	backend int
	status  int
	outcome string
	taken   bool   // it answered positively
	all     string // why it deleted none; "" if it may have
	failed  map[deletedObject]string
}

func (d *deletions) problem(o deletedObject) string {
	if d.all != "" {
		return d.all
	}
	problem := d.failed[o]
	if problem == "" && o.VersionID == "null" { // some name the version, some do not
		problem = d.failed[deletedObject{Key: o.Key}]
	}
	return problem
}

// beginDeletes notes which keys the request deletes, each of which is a write
// (R19, R24).
func (r *request) beginDeletes(objects []deletedObject) *s3Error {
	if problem := r.chargeDelete(int64(len(objects)) * deletionCost); problem != nil {
		return problem
	}
	begun := make(map[uint64]bool, len(objects))
	list := make([]deletion, 0, len(objects))
	var problem *s3Error
	noted := false
	defer func() {
		if !noted { // a panic
			r.e.forget(list)
		}
	}()
	for _, o := range objects {
		list = append(list, deletion{deletedObject: o, slot: noSlot})
		d := &list[len(list)-1]
		if hash := hashKey(r.target.bucket, o.Key); !begun[hash] {
			if !r.e.writes.beginWithin(hash, r.e.o.SlotTimeout) {
				problem = errKeyBusy
				break
			}
			begun[hash] = true
			d.write = hash
		}
		var err error
		if r.e.o.Journal != nil {
			d.began = r.e.o.Journal.Stamp(time.Now())
			d.slot, err = r.e.o.Journal.Begin(r.target.bucket, []byte(o.Key), nil, nil)
		}
		if err != nil {
			problem = r.notBegun(err)
			break
		}
	}
	r.mu.Lock()
	over := r.ended == len(r.legs)
	if !over {
		r.deletes = list
	}
	r.mu.Unlock()
	noted = true
	if over { // every backend has refused it already, and it has been settled
		r.e.forget(list)
	}
	return problem
}

// forget takes deletions back that have not come to be the request's.
func (e *Engine) forget(list []deletion) {
	for i := range list {
		if d := &list[i]; d.write != 0 {
			e.writes.leave(d.write)
		}
		if slot := list[i].slot; slot != noSlot {
			e.o.Journal.End(slot)
		}
	}
}

// recordDeletes records each key that one backend deleted and another one did
// not (R24). It tells whether it could read the request.
func (r *request) recordDeletes() bool {
	if len(r.deletes) == 0 {
		return false
	}
	results := r.deleteResults(r.votes)
	d := r.divergence(OpStoring)
	d.Size, d.ETag = 0, ""
	for i := range r.deletes {
		object := &r.deletes[i]
		from := deletedBy(results, object.deletedObject)
		if from < 0 {
			continue
		}
		d.Key, d.SuccessHost = object.Key, r.e.o.Backends[results[from].backend].Name()
		for i := range results {
			problem := results[i].problem(object.deletedObject)
			if problem == "" && isVersion(object.VersionID) {
				d.Status = results[i].status
				r.recordVersion(d, deletedOn(results, object.deletedObject), results[i].backend)
			}
			if problem != "" && i != from {
				d.FailedHost, d.Status, d.Error = r.e.o.Backends[results[i].backend].Name(), results[i].status, problem
				r.record(&d, results[i].outcome)
			}
		}
	}
	return true
}

// deleteResults is what each backend did that has a vote, or was not asked.
func (r *request) deleteResults(votes []vote) []deletions {
	results := make([]deletions, 0, len(r.e.o.Backends))
	for i := range votes {
		if votes[i].state != votePending {
			results = append(results, r.legs[i].deletions())
		}
	}
	for s := r.skipped; s != 0; s &= s - 1 {
		b := bits.TrailingZeros64(s)
		results = append(results, deletions{backend: b, outcome: r.reasons[b], all: r.reasons[b]})
	}
	return results
}

// deletedOn is the set of backends that deleted the object.
func deletedOn(results []deletions, o deletedObject) (set uint64) {
	for i := range results {
		if results[i].problem(o) == "" {
			set |= 1 << results[i].backend
		}
	}
	return set
}

// deletedBy returns the first of the results by which the object was deleted, or
// else by which it may have been: a positive answer that cannot be read. -1 if
// nobody deleted it.
func deletedBy(results []deletions, o deletedObject) int {
	perhaps := -1
	for i := range results {
		if results[i].problem(o) == "" {
			return i
		}
		if perhaps < 0 && results[i].taken && results[i].all != "" {
			perhaps = i
		}
	}
	return perhaps
}

// deletions reads a leg's answer to DeleteObjects.
func (l *leg) deletions() deletions {
	d := deletions{backend: l.backend, status: l.answer.status, outcome: l.outcome, taken: l.state == votePositive}
	if !d.taken {
		d.all = l.err.Error()
		return d
	}
	var result deleteResult
	if err := xml.Unmarshal(l.body, &result); err != nil {
		d.all = "unreadable answer to a multi-object delete"
		return d
	}
	for _, e := range result.Errors {
		if e.Code == "NoSuchKey" {
			continue // gone is gone
		}
		if d.failed == nil {
			d.failed = make(map[deletedObject]string)
		}
		d.failed[deletedObject{e.Key, e.VersionID}] = "not deleted: " + e.Code
	}
	return d
}
