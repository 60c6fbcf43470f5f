package engine

import (
	"encoding/xml"
	"time"

	"github.com/akubra/akubra/s3"
)

// deleteResult is the answer. In quiet mode it names only errors.
type deleteResult struct {
	XMLName xml.Name      `xml:"DeleteResult"`
	Errors  []deleteError `xml:"Error"`
}

type deletedObject struct {
	Key       string
	VersionID string `xml:"VersionId"`
}

// deletion is one object to be deleted. turn is its place in the table of writes in flight (R19),
// unless an object before it has the same key.
type deletion struct {
	deletedObject
	turn      turn
	alone     bool   // no other conditional write to the key may be decided meanwhile (R29)
	began     uint64 // as a request's
	seq       uint64 // as a request's
	unordered uint64 // as a request's
}

type deleteError struct {
	Key       string
	VersionID string `xml:"VersionId"`
	Code      string
	Message   string
}

// deletions returns, from a backend's positive answer, why each key was not deleted, or nothing if
// it was.
type deletions struct {
	unreadable bool
	failed     map[deletedObject]string
	locked     map[deletedObject]bool // of them, versions that may be locked
}

// undeleted is how many keys a backend's positive answer to a multi-object delete says it has not
// deleted. Versions that may be locked do not count: saysOfVersions weighs them.
func (l *leg) undeleted() (n uint16) {
	if !l.r.head.is(s3.KindDelete) || l.state != votePositive {
		return 0
	}
	d := l.deletions()
	if d.unreadable {
		return maxDeletes
	}
	for o := range d.failed {
		if o.VersionID == "" || !d.locked[o] {
			n++
		}
	}
	return n
}

// pickDeleted corrects what pick says of a multi-object delete, each key of which is a write (R24):
// where a backend has not deleted a key the others may have, as after any answer that is not
// positive. The one that has refused the fewest is the client's. refused is by leg.
//
// It is a pure function of its arguments.
func pickDeleted(votes []vote, leg int, v verdict, refused []uint16) (int, verdict) {
	if v != verdictAnswer || votes[leg].state != votePositive || refused[leg] == 0 {
		return leg, v
	}
	for i := range votes {
		switch {
		case votes[i].state == votePending:
			v = verdictWait
		case votes[i].state == votePositive && (refused[i] < refused[leg] || refused[i] == refused[leg] && votes[i].order < votes[leg].order):
			leg = i
		}
	}
	if refused[leg] == 0 {
		v = verdictAnswer
	}
	return leg, v
}

func (d *deletions) problem(o deletedObject) string {
	if d.unreadable {
		return "unreadable answer to a multi-object delete"
	}
	problem := d.failed[o]
	if problem == "" && o.VersionID == "null" { // some name the version, some do not
		problem = d.failed[deletedObject{Key: o.Key}]
	}
	return problem
}

// beginDeletes records which keys the request deletes, each of which is a write (R19, R24). The
// conditional ones come first, in an order that is the same for all such requests, so that no two
// wait for each other.
func (r *request) beginDeletes(objects []deletedObject, conditional map[string]bool) *s3Error {
	if problem := r.chargeDelete(int64(len(objects)) * deletionCost); problem != nil {
		return problem
	}
	begun := make(map[uint64]bool, len(objects))
	list := make([]deletion, 0, len(objects))
	var write JournalWrite
	var problem *s3Error
	noted := false
	defer func() {
		if !noted { // a panic
			r.forget(list, write)
		}
	}()
	for _, o := range conditionalFirst(objects, conditional) {
		list = append(list, deletion{deletedObject: o})
		d := &list[len(list)-1]
		if hash := hashKey(r.head.target.Bucket, o.Key); !begun[hash] {
			if problem = r.beginDelete(&d.turn, hash, conditional[o.Key]); problem != nil {
				break
			}
			begun[hash] = true
			d.alone = conditional[o.Key]
		}
		var err error
		if r.e.o.Journal != nil {
			d.began = r.e.o.Journal.Stamp(time.Now())
			target := r.versionTarget(o.VersionID)
			if write == nil {
				write, err = r.e.o.Journal.Begin("DELETE", r.head.target.Bucket, []byte(o.Key), nil, target)
			} else {
				err = write.Add(r.head.target.Bucket, []byte(o.Key), target)
			}
		}
		if err != nil {
			problem = r.notBegun(err)
			break
		}
	}
	r.mu.Lock()
	over := r.allEndedLocked()
	if !over {
		r.ledger.deletes, r.ledger.write = list, write
		r.noteNamed(list)
	}
	r.mu.Unlock()
	noted = true
	if over { // every backend has refused it already, and it has been settled
		r.forget(list, write)
	}
	return problem
}

// beginDelete records that a key is about to be deleted.
func (r *request) beginDelete(t *turn, hash uint64, conditional bool) *s3Error {
	switch e := r.e; {
	case conditional && !e.writes.beginAlone(t, hash, r.writer(), r.head.id, min(aloneWait, r.o.SlotTimeout), r.o.SlotTimeout):
		return errKeyContended
	case !conditional && !e.writes.beginWithin(t, hash, r.writer(), r.o.SlotTimeout):
		return errKeyBusy
	}
	return nil
}

// leaveDelete removes a deletion from the table of writes in flight, if it is in there.
func (r *request) leaveDelete(d *deletion) {
	if !d.turn.isUnderWay() {
		return
	}
	if d.alone {
		r.e.writes.decided(d.turn.hash, r.head.id)
	}
	startNext(r.e.writes.leave(&d.turn), false)
}

// forget takes back deletions that have not become the request's.
func (r *request) forget(list []deletion, write JournalWrite) {
	for i := range list {
		r.leaveDelete(&list[i])
	}
	if write != nil {
		write.End()
	}
}

// deletions reads a leg's positive answer to DeleteObjects.
func (l *leg) deletions() (d deletions) {
	var result deleteResult
	if err := xml.Unmarshal(l.body, &result); err != nil {
		return deletions{unreadable: true}
	}
	for _, e := range result.Errors {
		if e.Code == "NoSuchKey" {
			continue // gone is gone
		}
		if d.failed == nil {
			d.failed = make(map[deletedObject]string)
		}
		d.failed[deletedObject{e.Key, e.VersionID}] = "not deleted: " + e.Code
		if isLock(e.Code, []byte(e.Message)) {
			if d.locked == nil {
				d.locked = make(map[deletedObject]bool)
			}
			d.locked[deletedObject{e.Key, e.VersionID}] = true
		}
	}
	return d
}
