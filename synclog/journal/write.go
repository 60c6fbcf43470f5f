package journal

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/akubra/akubra/internal/text"
	"github.com/akubra/akubra/synclog/inflight"
	"github.com/akubra/akubra/synclog/task"
)

// ErrUnnoted is what OnError is told about a write that goes on although nothing would be left of
// it if the process ended (Options.Continue).
var ErrUnnoted = errors.New("journal: a write is under way that is noted nowhere")

// InflightName is the file of the table of writes in flight, beside the segments.
const InflightName = "inflight"

// Room is how many bytes Open has to write in dir at least: the table, in the place of an earlier one, and the first
// records of a segment.
func Room(dir string) int64 {
	room := int64(inflight.FirstSize + 64<<10)
	if info, err := os.Stat(filepath.Join(dir, InflightName)); err == nil {
		room -= min(info.Size(), inflight.FirstSize)
	}
	return room
}

// Write is a client's write on its way to the backends, to one key or to several (R24):
//
//	w, err := j.Begin(…)    // before anything of it goes to a backend
//	w.Leave(…)              // of a write that one backend decides: who may have it
//	err = w.Acknowledge(…)  // before the client is told, where legs are out
//	err = w.Settle(…)       // when all legs have ended; without Acknowledge before the client is told
//	w.End()                 // when nothing of it is under way any more
//
// Whenever the process is killed in between, the next Open finds it. Only one goroutine at a time
// may use a Write, and nobody after End, which recycles its memory.
type Write struct {
	j    *Journal
	slot int32
	more []int32 // of Add
	key  []byte  // the slot's, borrowed
	// whole: the slot has the write's target, and so can say everything that an intent says.
	whole    bool
	promised bool // an intent is open
}

// noSlot: the table had no room, and the write goes on all the same (Options.Continue).
const noSlot = -1

// underWay is what the journal has about writes in flight: their table, and the slots of those
// that have ended while nothing could be written. Such a slot may be all that is left of its
// write, so it is kept until the journal works.
type underWay struct {
	table *inflight.Table // nil: there is none, see Options.Writes
	order uint32          // of the backends: orderOf
	pool  sync.Pool       // of *Write

	keeping sync.Mutex // around kept; before the table's
	kept    []int32
	keeps   atomic.Bool // kept is not empty
}

// openTable opens the table of writes in flight and takes over what a killed process has left
// there: some backends may have these writes and others not. Those that were acknowledged may be
// in the log already (knows).
func (j *Journal) openTable() (err error) {
	j.writes.table, err = inflight.Open(filepath.Join(j.dir, InflightName), func(left []inflight.Write) error {
		entries := make([]Entry, len(left))
		for i := range left {
			entries[i] = entryOf(&left[i], j.o.Backends)
		}
		if err := j.promise(entries); err != nil {
			return err
		}
		return j.Flush()
	})
	if err != nil {
		return fmt.Errorf("journal: cannot open the table of writes in flight: %w", err)
	}
	j.writes.table.SetMax(j.o.Writes)
	j.writes.order = orderOf(j.o.Backends)
	j.guard(InflightName, j.writes.table)
	return nil
}

// Begin records that a write is about to go to the backends, so that a killed process leaves
// behind what it was doing. key is decoded, and must not change until End; host and target are for
// writes about a bucket. An error, which may be task.ErrTooManyWrites or task.ErrKeyTooLong, means
// that the write must not go on. It waits for a disk only if the table has to grow.
func (j *Journal) Begin(method string, bucket, key, host, target []byte) (*Write, error) {
	slot, err := j.note(&inflight.Write{Method: method, Bucket: bucket, Key: key, Host: host, Target: text.HideSecrets(target)})
	if err != nil {
		return nil, err
	}
	w, _ := j.writes.pool.Get().(*Write)
	if w == nil {
		w = new(Write)
	}
	w.j, w.slot, w.key, w.whole = j, slot, key, slot != noSlot && len(target) > 0
	return w, nil
}

func (j *Journal) note(w *inflight.Write) (slot int32, err error) {
	if j.writes.table == nil {
		err = ErrFailed // as it was opened
	} else {
		slot, err = j.writes.table.Begin(w)
	}
	switch {
	case err == nil:
		return slot, nil
	case errors.Is(err, inflight.ErrFull):
		err = task.ErrTooManyWrites
	case errors.Is(err, inflight.ErrTooLong):
		err = task.ErrKeyTooLong
	case j.o.Continue:
		j.o.OnError(fmt.Errorf("%w: %w", ErrUnnoted, err))
		return noSlot, nil
	}
	return noSlot, err
}

// Add is Begin for a further key that the same request deletes; target, unless nil, says which
// version of it. With several keys the slots cannot say everything that an intent says.
func (w *Write) Add(bucket, key, target []byte) error {
	w.whole = false
	slot, err := w.j.note(&inflight.Write{Method: http.MethodDelete, Bucket: bucket, Key: key, Target: text.HideSecrets(target)})
	if err == nil && slot != noSlot {
		w.more = append(w.more, slot)
	}
	return err
}

// Waits reports whether Acknowledge waits for a disk.
func (w *Write) Waits() bool { return w.j.o.Power || !w.whole }

// Leave says what a killed process leaves behind of the write before Acknowledge or Settle. Of one that
// is Unacknowledged only the backends of e.Owed may have it, whatever else it was; any other one is to be as e
// says. It is for the next process alone, and waits for nothing.
func (w *Write) Leave(e *Entry) {
	if w.slot == noSlot {
		return
	}
	ack := ackOf(e, w.j.writes.order)
	if e.Unacknowledged {
		ack.Seq = 0
	}
	_ = w.j.writes.table.Acknowledge(w.slot, &ack) // where it cannot be said, any backend may have it
}

// Acknowledge makes durable what the backends may owe of a write whose legs are out, with one
// entry, which must be Open, for each key. With Options.Power that means on disk; otherwise it
// means that it survives the process, if possible in the slot alone. An error means that the
// client must not be told that the write succeeded. It keeps nothing of es, but removes secrets
// from their targets, which repair has no use for (R37).
func (w *Write) Acknowledge(es []Entry) (err error) {
	hideSecrets(es)
	if !w.Waits() && len(es) == 1 && bytes.Equal(es[0].Key, w.key) {
		err = w.intend(es)
	} else {
		err = w.j.Promise(es)
	}
	w.promised = err == nil
	return err
}

// intend leaves in the slot what the log will get soon.
func (w *Write) intend(es []Entry) error {
	if err := w.j.intend(&es[0]); err != nil {
		return err
	}
	ack := ackOf(&es[0], w.j.writes.order)
	if w.j.writes.table.Acknowledge(w.slot, &ack) == nil {
		return nil
	}
	err := w.j.Flush()
	if err != nil {
		w.j.disown(es)
	}
	return err
}

// Settle says how the write has ended on all backends, with the entries of Acknowledge as they
// have become. What is owed is written before it returns, or is in the slot until it is. If
// nothing is owed, it does not wait for a disk and never fails.
//
// Without Acknowledge it works like Promise: an error means that the client must not be told that
// the write succeeded.
func (w *Write) Settle(es []Entry) error {
	if !w.promised {
		hideSecrets(es)
		return w.j.Promise(es)
	}
	var late []*Entry
	owed := false
	for i := range es {
		switch e := &es[i]; {
		case e.Owed != 0:
			w.j.settleOpen(e)
			owed = true
		case !w.j.trySettle(e):
			late = append(late, ownedBy(e))
		}
	}
	if owed && !w.j.o.Power {
		_ = w.j.Flush() // where it fails, End keeps the slot
	}
	if late != nil {
		w.j.settleLate(late, w.takeSlots())
	}
	return nil
}

// Beside reports writes to the same keys that overlapped with this one and have ended, once this
// one is settled. They owed nothing, so the log may not have them; if their key is pending they
// are rivals. This one's own entries follow, as OverlapKnown: if they are lost with the process,
// the write is left as one that overlapped with others that are not known.
func (w *Write) Beside(es []Entry) {
	hideSecrets(es)
	w.j.beside(es)
}

// takeSlots takes over the slots that End would end.
func (w *Write) takeSlots() (slots []int32) {
	if w.slot != noSlot {
		slots = append(slots, w.slot)
	}
	slots = append(slots, w.more...)
	w.slot, w.more = noSlot, nil
	return slots
}

// End says that the write is over: everything that had to be written about it is written. While
// the journal cannot be written, its slots are kept.
func (w *Write) End() {
	j := w.j
	if w.slot != noSlot {
		j.endSlot(w.slot)
	}
	for _, slot := range w.more {
		j.endSlot(slot)
	}
	*w = Write{}
	j.writes.pool.Put(w)
}

func (j *Journal) endSlot(slot int32) {
	u := &j.writes
	if !j.Refuses() && !u.keeps.Load() {
		u.table.End(slot)
		return
	}
	u.keeping.Lock()
	defer u.keeping.Unlock()
	u.kept = append(u.kept, slot)
	if u.keeps.Store(j.Refuses()); u.keeps.Load() {
		return
	}
	for _, slot := range u.kept { // what there was to write was written before it worked again
		u.table.End(slot)
	}
	u.kept = nil
}

// Refuses reports whether new writes must be refused because nothing about them could be written
// down. If writes are to go on whatever happens to the journal (Options.Continue), it returns
// false.
func (j *Journal) Refuses() bool { return !j.o.Continue && j.Failed() }

func hideSecrets(es []Entry) {
	for i := range es {
		es[i].Target = text.HideSecrets(es[i].Target)
	}
}
