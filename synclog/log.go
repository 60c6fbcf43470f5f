// Package synclog writes the records of divergences (R16): what one backend accepted and another
// did not, one JSON object per line.
//
// A Record is a value and belongs to whoever made it; Log reads it only during the call of Record.
// Any goroutine may use a Log. It does not own its output: whoever opened that closes it, once
// nobody records any more. The output gets one Write per line and must write a whole line or fail;
// repairing the line that a failed write tore is its own task.
package synclog

import (
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/valyala/bytebufferpool"
)

// Options configures a Log.
type Options struct {
	// Out gets each line in one Write. Only one Write runs at a time.
	Out io.Writer
	// Methods are those whose divergences are recorded, in capitals. If empty: PUT, POST, DELETE.
	Methods []string
	// OnError is told of each record that could not be written, and may read it only during the
	// call. It runs on the goroutine that records, while others may record. May be nil.
	OnError func(r *Record, err error)
}

// Counts are the numbers of records that a Log was given.
type Counts struct {
	Written uint64
	Failed  uint64 // the write failed or was short
	Skipped uint64 // not one of Options.Methods
}

// Log writes records.
type Log struct {
	methods atomic.Pointer[[]string]
	onError func(*Record, error)
	buffers bytebufferpool.Pool

	mu  sync.Mutex // one Write at a time; before the queue's
	out io.Writer

	written, failed, skipped atomic.Uint64
}

// New makes a Log; there is nothing to close.
func New(o Options) *Log {
	if o.Out == nil {
		panic("synclog: Options.Out is nil") // every record would be lost
	}
	l := &Log{onError: o.OnError, out: o.Out}
	l.SetMethods(o.Methods)
	if l.onError == nil {
		l.onError = func(*Record, error) {}
	}
	return l
}

// Record writes r if its method is one to record, or if it has none: then it is about a key that
// differs for unknown reasons. It returns when the output has accepted or refused the line.
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
		l.onError(r, err) // not under the mutex, so that others need not wait for it
		return
	}
	l.written.Add(1)
}

// Wants reports whether records with this method are written.
func (l *Log) Wants(method string) bool {
	return method == "" || slices.Contains(*l.methods.Load(), method)
}

// SetMethods changes which records are written from now on (Options.Methods).
func (l *Log) SetMethods(methods []string) {
	if len(methods) == 0 {
		methods = []string{"PUT", "POST", "DELETE"}
	}
	methods = slices.Clone(methods)
	l.methods.Store(&methods)
}

func (l *Log) write(line []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := l.out.Write(line)
	if err == nil && n < len(line) {
		err = io.ErrShortWrite
	}
	return err
}

// Counts returns the counts so far.
func (l *Log) Counts() Counts {
	return Counts{Written: l.written.Load(), Failed: l.failed.Load(), Skipped: l.skipped.Load()}
}
