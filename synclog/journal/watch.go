package journal

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// A process can write for ever to files that nobody will find again: their directory
// was deleted, renamed, replaced or mounted over. All it is told succeeds, and the
// next process, which may start at once, knows nothing of it. So the journal looks
// whether its paths still lead to what it has open (R23).

// watchEvery bounds how long it goes unnoticed, and with it how much is acknowledged
// meanwhile. A look is two cheap calls to the system for each file.
const watchEvery = 200 * time.Millisecond

// ErrGone: the directory, the lock or a guarded file is not where it was. Nothing can be
// written then until the next Open: who finds these paths now may be another process.
// It comes with ErrFailed.
var ErrGone = errors.New("journal: gone")

type goneError struct{ what, name, how string }

func (e *goneError) Error() string        { return fmt.Sprintf("%s %q is %s", e.what, e.name, e.how) }
func (e *goneError) Is(target error) bool { return target == ErrGone }

// Identified is something that is open.
type Identified interface {
	// Identity is the zero one where it is not open any more. An error means that it is
	// of no use, or that this cannot be told.
	Identity() (Identity, error)
}

// guarded is a file that has to stay where it is.
type guarded struct {
	what, name string
	file       Identified
}

// guard has the journal fail as soon as a file beside its own is gone.
func (j *Journal) guard(name string, file Identified) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.guarded = append(j.guarded, guarded{"file", j.stays(name), file})
}

// stays is the whole path of a file of ours. A relative one follows the process's
// directory, to where no other process would follow.
func (j *Journal) stays(name string) string { return absolute(j.path(name)) }

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// hold opens what is watched.
func (j *Journal) hold() error {
	dir, err := j.fs.Hold(j.dir)
	if err != nil {
		return err
	}
	j.held = dir
	j.guarded = []guarded{{"directory", j.stays(""), dir}, {"lock file", j.stays(lockName), j.lock}}
	checkpoint, err := j.fs.Identify(j.path(checkpointName))
	j.checkpointed = err == nil && checkpoint != Identity{}
	return nil
}

func (j *Journal) watch() {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-j.stop:
			return
		case <-ticker.C:
		}
		j.look()
	}
}

// look sees to it that the journal fails where its files are not what is written to.
func (j *Journal) look() {
	lost, err := j.missing()
	if err == nil && lost == nil && !j.unmarked() {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.gone:
		return
	case errors.Is(err, ErrGone):
		j.goneLocked(err)
	case err != nil:
		j.doubtLocked(err)
	case lost != nil:
		j.rescueLocked(lost)
	default:
		j.checkpointed, j.unmark = false, true
		j.problem("journal: the checkpoint is gone from %q: another one is written", j.dir)
	}
	j.wakeFlusher()
}

// missing gives the segments whose files are gone, and an error where anything else is.
func (j *Journal) missing() (lost []*segment, err error) {
	j.mu.Lock()
	guarded, segs := j.guarded, make([]*segment, 0, len(j.segs))
	for _, s := range j.segs {
		if j.expectedLocked(s) {
			segs = append(segs, s)
		}
	}
	j.mu.Unlock()
	for _, g := range guarded {
		if err := j.leads(g.what, g.name, g.file); err != nil {
			return nil, err
		}
	}
	for _, s := range segs {
		err := j.leads("segment", j.path(s.name()), s.file)
		switch {
		case errors.Is(err, ErrGone):
			lost = append(lost, s)
		case err != nil && j.expected(s): // else it was closed
			return nil, err
		}
	}
	return lost, nil
}

// expectedLocked reports whether a segment's file has to be there.
func (j *Journal) expectedLocked(s *segment) bool { return s.file != nil && !s.leaving && !s.lost }

func (j *Journal) expected(s *segment) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.expectedLocked(s)
}

// leads is nil where name leads to what is open.
func (j *Journal) leads(what, name string, file Identified) error {
	own, err := file.Identity()
	if err != nil {
		return fmt.Errorf("%s %q: %w", what, name, err)
	}
	there, err := j.fs.Identify(name)
	switch {
	case err != nil:
		return fmt.Errorf("cannot find %s %q: %w", what, name, err)
	case own == Identity{} || there == own:
		return nil
	case there == Identity{}:
		return &goneError{what, name, "not there any more"}
	}
	return &goneError{what, name, "not the one any more that is written to"}
}

// unmarked reports whether there should be a checkpoint and is none.
func (j *Journal) unmarked() bool {
	j.mu.Lock()
	checkpointed := j.checkpointed
	j.mu.Unlock()
	if !checkpointed {
		return false
	}
	there, err := j.fs.Identify(j.path(checkpointName))
	return err == nil && there == Identity{}
}

// goneLocked makes a failure final.
func (j *Journal) goneLocked(err error) {
	// At once: a write that is under way may take its time.
	j.gone = true
	j.epochs++
	j.failure = fmt.Errorf("%w: %w", ErrFailed, err)
	j.fails.Store(true)
	j.problem("%w", j.failure)
	j.settleDownLocked()
	j.breakLocked(nil, j.cur.seg, j.failure)
}

// doubtLocked fails as long as nobody can tell.
func (j *Journal) doubtLocked(err error) {
	j.settleDownLocked()
	if j.failure == nil {
		j.breakLocked(nil, j.cur.seg, fmt.Errorf("%w: it may be gone: %w", ErrFailed, err))
	}
}

// rescueLocked has what is in segments that are gone, and can be read as long as they
// are open, written anew; with them all that is older, which something in them may end.
func (j *Journal) rescueLocked(lost []*segment) {
	j.settleDownLocked()
	var last *segment
	for _, s := range lost {
		if j.expectedLocked(s) && j.segment(s.num) == s {
			s.lost, last = true, s
		}
	}
	if last == nil {
		return // they were deleted, by ourselves
	}
	for _, s := range j.segs {
		s.suspect = s.suspect || s.num <= last.num
	}
	j.breakLocked(nil, j.cur.seg, fmt.Errorf("%w: segment %q is gone: what was in it is written anew", ErrFailed, last.name()))
}

// settleDownLocked waits for a write under way.
func (j *Journal) settleDownLocked() {
	for j.writing != nil {
		j.idle.Wait()
	}
}

// unlock lets go of the lock and of the directory.
func (j *Journal) unlock() error {
	if j.held != nil {
		_ = j.held.Close() // nothing is written to it
	}
	return j.lock.Close()
}
