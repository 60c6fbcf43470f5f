package engine

import (
	"encoding/xml"
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

// deletion is one object that is to be deleted. turn is its place in the table of writes
// under way (R19); it is in there unless an object before it has the same key.
type deletion struct {
	deletedObject
	turn  turn
	began uint64 // as a request's
	seq   uint64 // as a request's
	also  uint64 // as a request's
}

type deleteError struct {
	Key       string
	VersionID string `xml:"VersionId"`
	Code      string
}

// deletions is what a backend's positive answer says of the keys: why it has not deleted
// them, or nothing.
type deletions struct {
	unreadable bool
	failed     map[deletedObject]string
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

// beginDeletes notes which keys the request deletes, each of which is a write
// (R19, R24).
func (r *request) beginDeletes(objects []deletedObject) *s3Error {
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
			r.e.forget(list, write)
		}
	}()
	for _, o := range objects {
		list = append(list, deletion{deletedObject: o})
		d := &list[len(list)-1]
		if hash := hashKey(r.head.target.Bucket, o.Key); !begun[hash] {
			if !r.e.writes.beginWithin(&d.turn, hash, r.e.o.SlotTimeout) {
				problem = errKeyBusy
				break
			}
			begun[hash] = true
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
	}
	r.mu.Unlock()
	noted = true
	if over { // every backend has refused it already, and it has been settled
		r.e.forget(list, write)
	}
	return problem
}

// forget takes deletions back that have not come to be the request's.
func (e *Engine) forget(list []deletion, write JournalWrite) {
	for i := range list {
		if t := &list[i].turn; t.isUnderWay() {
			e.writes.leave(t)
		}
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
	}
	return d
}
