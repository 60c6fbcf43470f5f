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

// Output passes each line to all of its sinks and waits for none of them (R23).
type Output struct {
	sinks          []*Queue
	stdout, stderr *Queue   // of sinks; nil without
	file           *logFile // nil without one
	syslog         *syslogCloser
	facility       string // of syslog
}

// logCloseTimeout is how long Close waits for a reader to take the last lines.
const logCloseTimeout = 2 * time.Second

// reopenFlush is how long the old file may take to accept the lines queued for it.
const reopenFlush = 500 * time.Millisecond

// dialSyslog is a variable for tests, which have no syslog daemon.
var dialSyslog = syslog.New

// OpenOutput opens every output that c sets. Even with an error the Output is usable and must be
// closed. Nothing is written before Start.
func OpenOutput(c config.LogOutput) (*Output, error) {
	o := &Output{}
	var errs []error
	if c.Stdout {
		o.stdout = o.add("stdout", &logFile{f: keptOpen{os.Stdout}})
	}
	if c.Stderr {
		o.stderr = o.add("stderr", &logFile{f: keptOpen{os.Stderr}})
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
				o.facility = c.Syslog
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

// Start starts writing. onTrouble and onRevive are Queue's; either may be nil.
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

// Write passes the line to every sink and names those that have no room for it. With an error it
// returns 0, because how much arrives differs from sink to sink.
func (o *Output) Write(p []byte) (int, error) {
	return o.WriteLevel(zerolog.NoLevel, p)
}

// WriteLevel is Write for a line with a level, which syslog uses.
func (o *Output) WriteLevel(level zerolog.Level, p []byte) (int, error) {
	var errs []error
	if level == zerolog.TraceLevel {
		level = zerolog.DebugLevel // syslog has no lower level, and zerolog would drop the line there
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

// finish accepts no more lines; queued ones are still written.
func (o *Output) finish() {
	for _, q := range o.sinks {
		q.finish()
	}
}

// Close closes what OpenOutput opened once the queued lines are written; a sink whose reader takes
// nothing gets logCloseTimeout. Later Writes fail.
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

// keptOpen is a file that this package must not close.
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

// syslogCloser closes a connection to syslog, unless a write to it hangs, since closing would wait
// for that.
type syslogCloser struct {
	io.Closer
	queue *Queue
}

func (s *syslogCloser) Close() error {
	if !s.queue.gone() {
		return nil // reported already; the process is about to end
	}
	return s.Closer.Close()
}

// logFile is a file that lines are appended to.
type logFile struct {
	path  string
	queue *Queue // the queue whose lines they are

	mu   sync.Mutex     // not held during a write, which may hang
	f    io.WriteCloser // nil once closed
	nth  int            // number of files f has been, for tear
	torn bool           // f ends in the middle of a line
}

// openAppend opens a file for appending, and reports whether it ends in the middle of a line, as
// after a full disk or a power cut.
func openAppend(path string) (f *os.File, torn bool, err error) {
	info, err := os.Stat(path)
	if err == nil && info.Mode()&fs.ModeNamedPipe != 0 {
		// Opening a named pipe only for writing would wait for a reader. Opened like this it does
		// not wait, and keeps what it can hold while there is no reader.
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
		return f, false, nil // may be written but not read: cannot know
	}
	defer r.Close()
	last := []byte{'\n'}
	_, _ = r.ReadAt(last, info.Size()-1)
	return f, last[0] != '\n', nil
}

// writeLines first ends a torn line, because otherwise the next one would be lost along with it
// (R16). A line of which only part was written is written again in full.
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

// tear records whether the nth file ends in the middle of a line. It returns false if another file
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

// reopen makes lines from now on go to the file that is now at path. Lines already queued go to the
// old file, if it accepts them; a write that hangs does not hold anything up.
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
