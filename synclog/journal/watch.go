package journal

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// A process can write for ever to files that nobody will find again: their directory was deleted,
// renamed, replaced or mounted over. Everything it does succeeds, and the next process, which may
// start at once, knows nothing about it. So the journal checks whether its paths still lead to
// what it has open (R23).

// ErrGone: the directory, the lock or a guarded file is no longer where it was. Nothing can be
// written until the next Open, because another process may be using these paths now. It comes
// together with ErrFailed.
var ErrGone = errors.New("journal: gone")

type goneError struct{ what, name, how string }

func (e *goneError) Error() string        { return fmt.Sprintf("%s %q is %s", e.what, e.name, e.how) }
func (e *goneError) Is(target error) bool { return target == ErrGone }

// Identified is a file or directory that is open.
type Identified interface {
	// Identity is the zero one if it is no longer open. An error means that it cannot be used, or
	// that this cannot be told.
	Identity() (Identity, error)
}

// guarded is a file that must stay where it is.
type guarded struct {
	what, name string
	file       Identified
}

// guard makes the journal fail as soon as a file beside its own is gone.
func (j *Journal) guard(name string, file Identified) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.guarded = append(j.guarded, guarded{"file", j.stays(name), file})
}

// stays is the whole path of one of our files. A relative path follows the process's directory, to
// where no other process would look.
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
	ticker := time.NewTicker(j.o.WatchEvery)
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

// look makes the journal fail if its paths no longer lead to the files that it writes to.
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

// missing returns the segments whose files are gone, and an error if anything else is.
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

// expectedLocked reports whether a segment's file must exist.
func (j *Journal) expectedLocked(s *segment) bool { return s.file != nil && !s.leaving && !s.lost }

func (j *Journal) expected(s *segment) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.expectedLocked(s)
}

// leads returns nil if name leads to what is open.
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

// unmarked reports whether there should be a checkpoint but is none.
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

// doubtLocked makes the journal fail for as long as nobody can tell.
func (j *Journal) doubtLocked(err error) {
	j.settleDownLocked()
	if j.failure == nil {
		j.breakLocked(nil, j.cur.seg, fmt.Errorf("%w: it may be gone: %w", ErrFailed, err))
	}
}

// rescueLocked has everything written again that is in segments which are gone, but can be read
// while they are open; and with them everything older, which something in them may end.
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

// settleDownLocked waits for a write in progress.
func (j *Journal) settleDownLocked() {
	for j.writing != nil {
		j.idle.Wait()
	}
}

// unlock releases the lock and the directory.
func (j *Journal) unlock() error {
	if j.held != nil {
		_ = j.held.Close() // nothing is written to it
	}
	return j.lock.Close()
}
