package engine

import (
	"time"

	"github.com/akubra/akubra/engine/content"
	"github.com/akubra/akubra/s3"
)

// deletion is one object to be deleted. turn is its place in the table of writes in flight (R19),
// unless an object before it has the same key.
type deletion struct {
	content.Object
	turn      turn
	alone     bool   // no other conditional write to the key may be decided meanwhile (R29)
	began     uint64 // as a request's
	seq       uint64 // as a request's
	unordered uint64 // as a request's
}

// undeleted is how many keys a backend's positive answer to a multi-object delete says it has not
// deleted. Versions that may be locked do not count: saysOfVersions weighs them.
func (l *leg) undeleted() (n uint16) {
	if !l.r.head.is(s3.KindDelete) || l.state != votePositive {
		return 0
	}
	d := l.deletions()
	if d.Unreadable {
		return content.MaxDeletes
	}
	for o := range d.Failed {
		if o.VersionID == "" || !d.Locked[o] {
			n++
		}
	}
	if d.Unclear() {
		n++
	}
	return n + uint16(len(d.Omitted))
}

// beginDeletes records which keys the request deletes, each of which is a write (R19, R24). The
// conditional ones come first, in an order that is the same for all such requests, so that no two
// wait for each other.
func (r *request) beginDeletes(objects []content.Object, conditional map[string]bool) *s3Error {
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
		list = append(list, deletion{Object: o})
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
func (l *leg) deletions() content.Deletions {
	list := l.r.ledger.deletes
	return content.ReadDeletions(l.body, func(yield func(content.Object) bool) {
		for i := range list {
			if !yield(list[i].Object) {
				return
			}
		}
	})
}
