package logs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/syslog"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/text"
)

// Output hands each line to all of its sinks, and waits for none of them (R23).
type Output struct {
	sinks  []*Queue
	file   *logFile // nil where there is none
	syslog io.Closer
}

// logCloseTimeout is how long Close waits for a reader to take the last lines.
const logCloseTimeout = 2 * time.Second

// reopenFlush is how long the old file may take to take the lines that wait for it.
const reopenFlush = 500 * time.Millisecond

// dialSyslog is a variable for tests, which have no syslog daemon.
var dialSyslog = syslog.New

// OpenOutput opens all that c chooses. The output is usable even with an error,
// and has then to be closed too. Nothing is written before start.
func OpenOutput(c config.LogOutput) (*Output, error) {
	o := &Output{}
	var errs []error
	if c.Stdout {
		o.add("stdout", &logFile{f: keptOpen{os.Stdout}})
	}
	if c.Stderr {
		o.add("stderr", &logFile{f: keptOpen{os.Stderr}})
	}
	if c.File != "" {
		f, torn, err := openAppend(c.File)
		if err == nil {
			o.file = &logFile{path: c.File, f: f, torn: torn}
			o.file.queue = o.add(c.File, o.file)
		} else {
			errs = append(errs, fmt.Errorf("cannot open log file %q: %w", c.File, err))
		}
	}
	if c.Syslog != "" {
		facility, err := config.ParseFacility(c.Syslog)
		if err == nil {
			var w *syslog.Writer
			if w, err = dialSyslog(facility|syslog.LOG_INFO, "akubra"); err == nil {
				o.syslog = &syslogCloser{w, o.add("syslog", syslogWriter{zerolog.SyslogLevelWriter(w)})}
			} else {
				err = fmt.Errorf("cannot reach syslog for facility %q: %w", c.Syslog, err)
			}
		}
		errs = append(errs, err)
	}
	return o, errors.Join(errs...)
}

func (o *Output) add(name string, w lineWriter) *Queue {
	q := newLineQueue(name, w)
	o.sinks = append(o.sinks, q)
	return q
}

// Start begins to write. onTrouble and onRevive are Queue's; either may be nil.
func (o *Output) Start(onTrouble func(q *Queue, err error), onRevive func(q *Queue, lost uint64)) {
	for _, q := range o.sinks {
		if onTrouble != nil {
			q.onTrouble = onTrouble
		}
		if onRevive != nil {
			q.onRevive = onRevive
		}
		q.start()
	}
}

// Write gives the line to every sink, and names those that have no room for it. With
// an error it returns 0, for how much of it arrives differs from sink to sink.
func (o *Output) Write(p []byte) (int, error) {
	return o.WriteLevel(zerolog.NoLevel, p)
}

// WriteLevel is Write for a line of a level, which syslog is told.
func (o *Output) WriteLevel(level zerolog.Level, p []byte) (int, error) {
	var errs []error
	if level == zerolog.TraceLevel {
		level = zerolog.DebugLevel // syslog has nothing lower, and zerolog would drop it there
	}
	line := text.EscapeControls(p)
	for _, q := range o.sinks {
		if err := q.Add(level, line); err != nil {
			errs = append(errs, fmt.Errorf("cannot write log to %q: %w", q.Name, err))
		}
	}
	if len(errs) > 0 {
		return 0, errors.Join(errs...)
	}
	return len(p), nil
}

// flush waits until the sinks have written what they were given, but not longer than d.
func (o *Output) flush(d time.Duration) {
	for deadline, i := time.Now().Add(d), 0; i < len(o.sinks); i++ {
		o.sinks[i].flush(time.Until(deadline))
	}
}

func (o *Output) reopen() error {
	if o.file == nil {
		return nil
	}
	return o.file.reopen()
}

// finish takes no more lines; those that wait are still written.
func (o *Output) finish() {
	for _, q := range o.sinks {
		q.finish()
	}
}

// Close closes what OpenOutput opened, once the lines that wait are written: a sink
// whose reader takes nothing gets logCloseTimeout. A Write that follows fails.
func (o *Output) Close() error { return o.closeBy(time.Now().Add(logCloseTimeout)) }

func (o *Output) closeBy(deadline time.Time) error {
	o.finish()
	var errs []error
	for _, q := range o.sinks {
		errs = append(errs, q.ended(deadline))
	}
	if o.file != nil {
		errs = append(errs, o.file.Close())
	}
	if o.syslog != nil {
		errs = append(errs, o.syslog.Close())
	}
	return errors.Join(errs...)
}

// keptOpen is a file that is not this package's to close.
type keptOpen struct{ io.Writer }

func (keptOpen) Close() error { return nil }

// syslogWriter writes each line as a message.
type syslogWriter struct{ w zerolog.LevelWriter }

func (s syslogWriter) writeLines(text []byte, lines []queuedLine) (int, error) {
	for i, line := range lines {
		if _, err := s.w.WriteLevel(line.level, text[:line.size]); err != nil {
			return i, err
		}
		text = text[line.size:]
	}
	return len(lines), nil
}

// syslogCloser closes a connection to syslog, unless a message waits to be taken:
// closing would wait for that, too.
type syslogCloser struct {
	io.Closer
	queue *Queue
}

func (s *syslogCloser) Close() error {
	if !s.queue.gone() {
		return nil // said already; the process is about to end
	}
	return s.Closer.Close()
}

// logFile is a file that lines are appended to.
type logFile struct {
	path  string
	queue *Queue // whose lines they are

	mu   sync.Mutex     // not held while something is written, which may hang
	f    io.WriteCloser // nil once closed
	nth  int            // counts the files that f was
	torn bool           // f ends within a line
}

// openAppend opens a file to append to, and reports whether it ends within a line,
// as it may after a full disk or a power cut.
func openAppend(path string) (f *os.File, torn bool, err error) {
	info, err := os.Stat(path)
	if err == nil && info.Mode()&fs.ModeNamedPipe != 0 {
		// Opening it for writing alone would wait for a reader. So it waits for none,
		// and keeps what it can hold while there is none.
		f, err = os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
		if err != nil {
			return nil, false, text.Cause(err)
		}
		return f, false, nil
	}
	f, err = os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, false, text.Cause(err)
	}
	info, err = f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return f, false, nil
	}
	r, err := os.Open(path)
	if err != nil {
		return f, false, nil // may be written but not read: then it cannot be known
	}
	defer r.Close()
	last := []byte{'\n'}
	_, _ = r.ReadAt(last, info.Size()-1)
	return f, last[0] != '\n', nil
}

// writeLines ends a torn line first: the next one would be lost along with it (R16).
// A line of which a part was written is written again, as a whole.
func (l *logFile) writeLines(content []byte, lines []queuedLine) (int, error) {
	l.mu.Lock()
	f, nth, torn := l.f, l.nth, l.torn
	l.mu.Unlock()
	if f == nil {
		return 0, fs.ErrClosed
	}
	if torn {
		if _, err := f.Write([]byte{'\n'}); err != nil {
			if l.tear(nth, true) {
				return 0, text.Cause(err)
			}
			return l.writeLines(content, lines)
		}
		l.tear(nth, false)
	}
	size, err := f.Write(content)
	if size == len(content) {
		return len(lines), nil
	}
	if err == nil {
		err = io.ErrShortWrite
	}
	n := 0
	for size >= lines[n].size {
		size -= lines[n].size
		content = content[lines[n].size:]
		n++
	}
	if l.tear(nth, size > 0) {
		return n, text.Cause(err)
	}
	more, err := l.writeLines(content, lines[n:])
	return n + more, err
}

// tear notes whether the nth file ends within a line. It is false where another one
// has taken its place.
func (l *logFile) tear(nth int, torn bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.nth != nth {
		return false
	}
	l.torn = torn
	return true
}

// reopen has the lines that come from now on in the file that is at path now. Those
// that wait already belong to the old one, if it takes them: a write that hangs holds
// nothing up.
func (l *logFile) reopen() error {
	f, torn, err := openAppend(l.path)
	if err != nil {
		return fmt.Errorf("cannot reopen log file %q, so the old one stays in use: %w", l.path, err)
	}
	l.queue.flush(reopenFlush)
	l.mu.Lock()
	old := l.f
	if old == nil {
		l.mu.Unlock()
		return errors.Join(fs.ErrClosed, f.Close())
	}
	l.f, l.torn = f, torn
	l.nth++
	l.mu.Unlock()
	if err := old.Close(); err != nil {
		return fmt.Errorf("cannot close old log file %q: %w", l.path, text.Cause(err))
	}
	return nil
}

// Close may be called more than once.
func (l *logFile) Close() error {
	l.mu.Lock()
	f := l.f
	l.f = nil
	l.mu.Unlock()
	if f == nil {
		return nil
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("cannot close log file %q: %w", l.path, text.Cause(err))
	}
	return nil
}
