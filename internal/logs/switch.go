package logs

import (
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/akubra/akubra/internal/config"
)

// switched is one of the three logs: an Output and a level, both of which can be replaced while
// lines are written (R22). It takes no lock.
type switched struct {
	out   atomic.Pointer[Output]
	level atomic.Int32 // lines below are not written
}

func newSwitched(o *Output, level zerolog.Level) *switched {
	s := &switched{}
	s.out.Store(o)
	s.level.Store(int32(level))
	return s
}

func (s *switched) Write(p []byte) (int, error) { return s.WriteLevel(zerolog.NoLevel, p) }

// WriteLevel is Output.WriteLevel. A line whose Output is replaced at this moment, and which one of
// its sinks does not accept any more, goes to the sinks that have taken its place, so that none is
// lost.
func (s *switched) WriteLevel(level zerolog.Level, p []byte) (int, error) {
	if level < zerolog.Level(s.level.Load()) {
		return len(p), nil
	}
	o := s.out.Load()
	n, err := o.WriteLevel(level, p)
	for err != nil {
		next := s.out.Load()
		if next == o {
			break
		}
		n, err = next.without(o).WriteLevel(level, p)
		o = next
	}
	return n, err
}

// without is o with only those sinks that other lacks.
func (o *Output) without(other *Output) *Output {
	return &Output{sinks: slices.DeleteFunc(slices.Clone(o.sinks), func(q *Queue) bool { return slices.Contains(other.sinks, q) })}
}

// Change is a LoggingConfig that is ready to take the place of the one in use. Exactly one of
// Commit and Cancel ends it.
type Change struct {
	logs  *Logs
	level zerolog.Level
	next  [len(logNames)]*Output
}

// Prepare opens the outputs that c has and l has not; those that both have are kept, with the lines
// queued for them. Nothing is written to the new ones before Commit. The error has a line for each
// mistake, and nothing stays open then. Changes exclude each other: the caller's task.
func (l *Logs) Prepare(c config.LoggingConfig) (*Change, error) {
	ch := &Change{logs: l}
	var errs [1 + len(logNames)]error
	ch.level, errs[0] = parseLevel(c.Mainlog.Level)
	for i, out := range []config.LogOutput{c.Mainlog, c.Accesslog, c.Synclog} {
		ch.next[i], errs[i+1] = openBeside(l.outputs[i].out.Load(), out)
	}
	if err := named(errors.Join(errs[0], errs[1]), errs[2], errs[3]); err != nil {
		ch.Cancel()
		return nil, err
	}
	return ch, nil
}

// openBeside is OpenOutput with whatever old has open already.
func openBeside(old *Output, c config.LogOutput) (*Output, error) {
	fresh := c
	fresh.Stdout = c.Stdout && old.stdout == nil
	fresh.Stderr = c.Stderr && old.stderr == nil
	if old.file != nil && old.file.path == c.File {
		fresh.File = ""
	}
	if old.syslog != nil && old.facility == c.Syslog {
		fresh.Syslog = ""
	}
	o, err := OpenOutput(fresh)
	keep := func(q *Queue) *Queue {
		o.sinks = append(o.sinks, q)
		return q
	}
	if c.Stdout && old.stdout != nil {
		o.stdout = keep(old.stdout)
	}
	if c.Stderr && old.stderr != nil {
		o.stderr = keep(old.stderr)
	}
	if c.File != "" && fresh.File == "" {
		o.file = old.file
		keep(old.file.queue)
	}
	if c.Syslog != "" && fresh.Syslog == "" {
		o.syslog, o.facility = old.syslog, old.facility
		keep(old.syslog.queue)
	}
	return o, err
}

// Commit has all lines from now on written as prepared. Lines queued for outputs that are no longer
// wanted are still written there; what a reader does not take in time is in the error.
func (ch *Change) Commit() error {
	var gone [len(logNames)]*Output
	for i, s := range ch.logs.outputs {
		old := s.out.Load()
		ch.logs.begin(i, ch.next[i].without(old).sinks)
		s.out.Store(ch.next[i])
		gone[i] = old.goneFrom(ch.next[i])
	}
	ch.logs.outputs[0].level.Store(int32(ch.level))
	deadline := time.Now().Add(logCloseTimeout)
	return named(gone[0].closeBy(deadline), gone[1].closeBy(deadline), gone[2].closeBy(deadline))
}

// Cancel closes what Prepare has opened.
func (ch *Change) Cancel() {
	for i, s := range ch.logs.outputs {
		fresh := ch.next[i].goneFrom(s.out.Load())
		fresh.Start(nil, nil)
		_ = fresh.Close() // nothing was written
	}
}

// goneFrom is what o has open and other has not.
func (o *Output) goneFrom(other *Output) *Output {
	gone := o.without(other)
	if o.file != other.file {
		gone.file = o.file
	}
	if o.syslog != other.syslog {
		gone.syslog = o.syslog
	}
	return gone
}

var (
	_ io.Writer           = (*switched)(nil)
	_ zerolog.LevelWriter = (*switched)(nil)
)
