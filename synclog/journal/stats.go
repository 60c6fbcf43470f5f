package journal

import (
	"math/bits"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// Stats describes a Journal.
type Stats struct {
	Pending   int                     // keys that a configured backend is owed
	Open      int                     // intents whose legs are under way
	Parked    int                     // of Pending
	ParkedFor map[task.ParkReason]int // of Parked; those of which memory has no reason are missing
	Gone      int                     // keys that a backend is owed which is not configured any more
	ByBackend []int                   // of Pending, by index in Options.Backends
	Oldest    uint64                  // of Pending, Seq of about the oldest entry; 0: none
	Segments  int
	Bytes     int64 // of all segments

	// Added are keys that became pending, including those that were at Open; Closed are those that
	// no longer are.
	Added, Closed uint64

	// Since Open: intents and states written, group commits, syncs, failed writes and syncs,
	// entries given up while failed (Options.Continue), and damage found, including torn ends.
	Written, Batches, Syncs, Failures, Dropped, Damaged uint64
	SyncTime                                            time.Duration // of Syncs, in all
}

// Stats returns the current state.
func (j *Journal) Stats() Stats {
	j.mu.Lock()
	defer j.mu.Unlock()
	k := &j.keys
	s := Stats{
		Pending: k.visible, Open: j.opens.len(), Parked: k.parked, ByBackend: make([]int, len(j.o.Backends)),
		Segments: len(j.segs), Bytes: j.total(),
		Written: j.counts.Written, Batches: j.counts.Batches, Syncs: j.syncs.Load(), SyncTime: time.Duration(j.syncTime.Load()),
		Failures: j.counts.Failures, Dropped: j.counts.Dropped, Damaged: j.damaged,
	}
	s.Added, s.Closed = k.appeared, k.vanished
	for i, n := range k.byKind {
		if n == 0 {
			continue
		}
		if why := int(k.classes[i].parked) - 1; why >= 0 && why < len(task.ParkReasons) && k.classes[i].owed&k.mine != 0 {
			if s.ParkedFor == nil {
				s.ParkedFor = map[task.ParkReason]int{}
			}
			s.ParkedFor[task.ParkReasons[why]] += n
		}
		for m := k.classes[i].owed & k.mine; m != 0; m &= m - 1 {
			s.ByBackend[bits.TrailingZeros64(m)] += n
		}
		if k.classes[i].owed&^k.mine != 0 {
			s.Gone += n
		}
	}
	if id, ok := k.after(0, true); ok {
		s.Oldest = k.at(id).age
	}
	return s
}

// Gone returns the names of backends that are no longer configured although they are owed keys, or
// were at Open.
func (j *Journal) Gone() []string {
	return j.names[len(j.o.Backends):len(j.names):len(j.names)]
}

// checkpointDue reports whether a checkpoint is due: since the last one more was logged than a
// start should read, and much more than the checkpoint itself holds; or the last one is gone.
func (j *Journal) checkpointDue() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.total() > j.o.scanBelow && (j.unmark || j.logged > max(4*j.o.SegmentSize, 8*slotSize*int64(j.keys.live)))
}

// worthCheckpoint reports whether the next start would read one.
func (j *Journal) worthCheckpoint() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.total() > j.o.scanBelow
}
