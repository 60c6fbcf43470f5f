package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/syslog"
	"os"
	"sync"

	"github.com/rs/zerolog"
)

// output hands each line to all of its sinks.
type output struct {
	sinks  []sink
	file   *logFile // nil where there is none
	syslog io.Closer
}

type sink struct {
	name string
	w    zerolog.LevelWriter
}

// dialSyslog is a variable for tests, which have no syslog daemon.
var dialSyslog = syslog.New

// openOutput opens all that c chooses. The output is usable even with an error,
// and has then to be closed too.
func openOutput(c LogOutput) (*output, error) {
	o := &output{}
	var errs []error
	if c.Stdout {
		o.sinks = append(o.sinks, sink{"stdout", zerolog.LevelWriterAdapter{Writer: os.Stdout}})
	}
	if c.Stderr {
		o.sinks = append(o.sinks, sink{"stderr", zerolog.LevelWriterAdapter{Writer: os.Stderr}})
	}
	if c.File != "" {
		f, torn, err := openAppend(c.File)
		if err == nil {
			o.file = &logFile{path: c.File, f: f, torn: torn}
			o.sinks = append(o.sinks, sink{c.File, zerolog.LevelWriterAdapter{Writer: o.file}})
		} else {
			errs = append(errs, fmt.Errorf("cannot open log file %q: %w", c.File, err))
		}
	}
	if c.Syslog != "" {
		facility, err := parseFacility(c.Syslog)
		if err == nil {
			var w *syslog.Writer
			if w, err = dialSyslog(facility|syslog.LOG_INFO, "akubra"); err == nil {
				o.syslog = w
				o.sinks = append(o.sinks, sink{"syslog", zerolog.SyslogLevelWriter(w)})
			} else {
				err = fmt.Errorf("cannot reach syslog for facility %q: %w", c.Syslog, err)
			}
		}
		errs = append(errs, err)
	}
	return o, errors.Join(errs...)
}

// Write gives the line to every sink, and names those that did not take it. With
// an error it returns 0, for how much of it arrived differs from sink to sink.
func (o *output) Write(p []byte) (int, error) {
	return o.WriteLevel(zerolog.NoLevel, p)
}

// WriteLevel is Write for a line of a level, which syslog is told.
func (o *output) WriteLevel(level zerolog.Level, p []byte) (int, error) {
	var errs []error
	if level == zerolog.TraceLevel {
		level = zerolog.DebugLevel // syslog has nothing lower, and zerolog would drop it there
	}
	for _, s := range o.sinks {
		n, err := s.w.WriteLevel(level, p)
		if err == nil && n < len(p) {
			err = io.ErrShortWrite
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("cannot write log to %q: %w", s.name, cause(err)))
		}
	}
	if len(errs) > 0 {
		return 0, errors.Join(errs...)
	}
	return len(p), nil
}

func (o *output) reopen() error {
	if o.file == nil {
		return nil
	}
	return o.file.reopen()
}

// Close closes what openOutput opened. A Write that follows fails.
func (o *output) Close() error {
	var errs []error
	if o.file != nil {
		errs = append(errs, o.file.Close())
	}
	if o.syslog != nil {
		errs = append(errs, o.syslog.Close())
	}
	return errors.Join(errs...)
}

// logFile is a file that is appended to a line a Write.
type logFile struct {
	path string

	mu   sync.Mutex
	f    io.WriteCloser // nil once closed
	torn bool           // f ends within a line
}

// openAppend opens a file to append to, and tells whether it ends within a line,
// as it may after a full disk or a power cut.
func openAppend(path string) (f *os.File, torn bool, err error) {
	f, err = os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, false, cause(err)
	}
	info, err := f.Stat()
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

// Write ends a torn line first: the next one would be lost along with it (R16).
func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return 0, fs.ErrClosed
	}
	if l.torn {
		if _, err := l.f.Write([]byte{'\n'}); err != nil {
			return 0, err
		}
		l.torn = false
	}
	n, err := l.f.Write(p)
	l.torn = n > 0 && n < len(p)
	return n, err
}

func (l *logFile) reopen() error {
	f, torn, err := openAppend(l.path)
	if err != nil {
		return fmt.Errorf("cannot reopen log file %q, so the old one stays in use: %w", l.path, err)
	}
	l.mu.Lock()
	old := l.f
	if old == nil {
		l.mu.Unlock()
		return errors.Join(fs.ErrClosed, f.Close())
	}
	l.f, l.torn = f, torn
	l.mu.Unlock()
	if err := old.Close(); err != nil {
		return fmt.Errorf("cannot close old log file %q: %w", l.path, cause(err))
	}
	return nil
}

// Close may be called more than once.
func (l *logFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return nil
	}
	err := l.f.Close()
	l.f = nil
	if err != nil {
		return fmt.Errorf("cannot close log file %q: %w", l.path, cause(err))
	}
	return nil
}

// cause takes the path off an error that is to be wrapped with it.
func cause(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}
