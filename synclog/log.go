// Package synclog keeps the records of divergences (R16): what one backend took
// and another one did not, one JSON object a line.
//
// A Record is a value and belongs to whoever made it; Log reads it only while
// Record runs. A Log may be used from any goroutine. It does not own its output:
// who opened that closes it, once nobody records any more. The output gets one
// Write a line and has to write a whole line or fail; mending the line that a
// failed write tore is its task.
package synclog

import (
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/valyala/bytebufferpool"
)

// Options of a Log.
type Options struct {
	// Out gets each line in one Write. Only one Write is under way at a time.
	Out io.Writer
	// Methods are those whose divergences are recorded, in capitals as methods
	// are; none given: PUT, POST, DELETE.
	Methods []string
	// OnError hears of each record that could not be written, and may read it only
	// while it runs. It runs in the goroutine that records, while others may record.
	// May be nil.
	OnError func(r *Record, err error)
}

// Counts of the records that a Log was given.
type Counts struct {
	Written uint64
	Failed  uint64 // the write failed, or was short
	Skipped uint64 // not one of Options.Methods
}

// Log writes records.
type Log struct {
	methods []string
	onError func(*Record, error)
	buffers bytebufferpool.Pool

	mu  sync.Mutex // one Write at a time
	out io.Writer

	written, failed, skipped atomic.Uint64
}

// New makes a Log; there is nothing to close.
func New(o Options) *Log {
	if o.Out == nil {
		panic("synclog: Options.Out is nil") // would lose every record
	}
	l := &Log{methods: slices.Clone(o.Methods), onError: o.OnError, out: o.Out}
	if len(l.methods) == 0 {
		l.methods = []string{"PUT", "POST", "DELETE"}
	}
	if l.onError == nil {
		l.onError = func(*Record, error) {}
	}
	return l
}

// Record writes r if its method is one to record, or none: then it is about a key
// of which nobody knows how it came to differ. It returns when the output
// has taken the line, or refused it.
func (l *Log) Record(r *Record) {
	if !l.Wants(r.Method) {
		l.skipped.Add(1)
		return
	}
	buf := l.buffers.Get()
	buf.B = append(r.AppendJSON(buf.B), '\n')
	err := l.write(buf.B)
	l.buffers.Put(buf)
	if err != nil {
		l.failed.Add(1)
		l.onError(r, err) // not under the mutex: others need not wait for it
		return
	}
	l.written.Add(1)
}

// Wants reports whether records with this method are written.
func (l *Log) Wants(method string) bool { return method == "" || slices.Contains(l.methods, method) }

func (l *Log) write(line []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := l.out.Write(line)
	if err == nil && n < len(line) {
		err = io.ErrShortWrite
	}
	return err
}

// Counts tells what became of the records so far.
func (l *Log) Counts() Counts {
	return Counts{Written: l.written.Load(), Failed: l.failed.Load(), Skipped: l.skipped.Load()}
}
