package journal

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// run is the journal's own goroutine: it writes and syncs what is buffered, cleans, and writes
// checkpoints.
func (j *Journal) run() {
	ticker := time.NewTicker(j.o.SyncEvery)
	defer ticker.Stop()
	for {
		select {
		case <-j.stop:
			return
		case <-ticker.C:
		case <-j.wake:
		}
		j.tick()
	}
}

func (j *Journal) wakeFlusher() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// complainEvery is how long a failed checkpoint or cleaning is put off.
const complainEvery = 10 * time.Second

func (j *Journal) tick() {
	defer j.tell()
	if j.Failed() {
		if time.Since(j.tried) >= reviveEvery || j.o.manual {
			j.revive()
		}
		return
	}
	if j.syncLog() != nil {
		return // it has been told
	}
	j.keepDamaged()
	if time.Since(j.unhappy) < complainEvery && !j.o.manual {
		return
	}
	if err := j.clean(); err != nil {
		j.unhappy = time.Now()
		j.complain("journal: cannot clean: %w", err)
		return
	}
	if j.checkpointDue() {
		if err := j.checkpoint(); err != nil && !errors.Is(err, ErrFailed) {
			j.unhappy = time.Now()
			j.complain("journal: cannot write a checkpoint: %w", err)
		}
	}
}

func (j *Journal) complain(format string, args ...any) {
	j.mu.Lock()
	j.problem(format, args...)
	j.mu.Unlock()
}

// tell reports the problems, without a lock.
func (j *Journal) tell() {
	j.mu.Lock()
	problems, revived := j.problems, j.revived
	j.problems, j.revived = nil, false
	j.mu.Unlock()
	for _, err := range problems {
		j.o.OnError(err)
	}
	if revived {
		j.o.OnRevive()
	}
}

// Flush makes everything given to the journal so far durable: written, or with Options.Power
// synced. The error is ErrFailed or ErrClosed.
func (j *Journal) Flush() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.closed:
		return ErrClosed
	case j.failure != nil:
		return j.failure
	}
	j.logOpensLocked()
	switch {
	case j.o.Power:
		epoch := j.epochs
		if err := j.waitLocked(j.cur); err != nil {
			return err
		}
		return j.syncSegmentsLocked(epoch)
	case len(j.cur.buf) > 0:
		return j.waitLocked(j.cur)
	case j.writing != nil:
		return j.waitLocked(j.writing)
	}
	return nil
}

// syncLog writes what is buffered and syncs what is written. Only the flusher calls it, and Close
// after the flusher has ended.
func (j *Journal) syncLog() error {
	j.mu.Lock()
	err, epoch := j.failure, j.epochs
	j.mu.Unlock()
	if err != nil {
		return err
	}
	return j.syncSince(epoch)
}

// syncSince is syncLog, unless the journal fails after epoch.
func (j *Journal) syncSince(epoch uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.writing != nil {
		j.idle.Wait()
	}
	if j.epochs == epoch {
		j.logOpensLocked()
	}
	if len(j.cur.buf) > 0 && j.epochs == epoch {
		j.leadLocked(false)
	}
	return j.syncSegmentsLocked(epoch)
}

// syncSegmentsLocked syncs what is written. It gives up the lock meanwhile.
func (j *Journal) syncSegmentsLocked(epoch uint64) error {
	for _, s := range slices.Clone(j.segs) {
		if j.epochs != epoch {
			return j.failure
		}
		if s.synced == s.size || s.suspect || j.segment(s.num) != s {
			continue
		}
		size := s.size
		s.readers++
		j.mu.Unlock()
		err := j.sync(s.file)
		j.mu.Lock()
		j.releaseLocked(s)
		if err != nil {
			return j.syncFailedLocked(s, fmt.Errorf("sync: %w", err))
		}
		s.synced = max(s.synced, size)
	}
	if j.epochs != epoch {
		return j.failure
	}
	made := j.dirMade
	if made == j.dirSynced {
		return nil
	}
	j.mu.Unlock()
	err := j.fs.SyncDir(j.dir)
	j.mu.Lock()
	if err != nil {
		return j.syncFailedLocked(j.cur.seg, fmt.Errorf("sync of the directory: %w", err))
	}
	j.dirSynced = max(j.dirSynced, made)
	return nil
}

// syncFailedLocked waits for a write in progress, because that may still succeed.
func (j *Journal) syncFailedLocked(s *segment, err error) error {
	for j.writing != nil {
		j.idle.Wait()
	}
	j.failLocked(nil, s, err)
	return j.failure
}

// keepDamaged is keep for the segments that were found to be damaged since the start.
func (j *Journal) keepDamaged() {
	j.mu.Lock()
	var damaged []*segment
	for _, s := range j.segs {
		if s.damaged && !s.kept && !s.tried {
			s.tried = true
			damaged = append(damaged, s)
		}
	}
	j.mu.Unlock()
	for _, s := range damaged {
		kept, err := j.link(s)
		j.mu.Lock()
		if s.kept = kept; err != nil {
			j.problem("%w", err)
		}
		j.mu.Unlock()
	}
}
