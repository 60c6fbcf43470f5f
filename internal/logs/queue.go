package logs

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"
)

// Bounds of what may wait for one sink (R23): some seconds' lines of a busy proxy.
const (
	maxQueuedBytes = 4 << 20
	MaxQueuedLines = 16 << 10
	// maxLogWrite bounds what goes out in one write. Up to so many bytes a pipe takes
	// whole, so that they do not mix with what another process writes to it.
	maxLogWrite = 4 << 10
	// keptLogBuffer is what an idle queue keeps of its memory.
	keptLogBuffer = 64 << 10
	// logRetry is the pause after a write that failed.
	logRetry = 250 * time.Millisecond
)

// Why a line was not taken, or not written.
var (
	errLogFull  = errors.New("too many lines wait for it already")
	errLogStuck = errors.New("it takes none")
)

// lineWriter is where a queue's lines go. It is called by one goroutine alone, and
// may wait for as long as it likes.
type lineWriter interface {
	// writeLines writes lines, which stand one behind the other in text, and returns
	// how many it wrote to their end; fewer than all of them only with an error.
	writeLines(text []byte, lines []queuedLine) (n int, err error)
}

// queuedLine is how long a line is, and its level, which syslog is told.
type queuedLine struct {
	size  int
	level zerolog.Level
}

// lineBatch is some lines.
type lineBatch struct {
	text  []byte
	lines []queuedLine
}

func (b *lineBatch) reset() {
	b.text, b.lines = b.text[:0], b.lines[:0]
	if cap(b.text) > keptLogBuffer {
		*b = lineBatch{}
	}
}

// first is the lines that go out in one write: one at least.
func (b *lineBatch) first() (text []byte, lines []queuedLine) {
	n := 1
	size := b.lines[0].size
	for n < len(b.lines) && size+b.lines[n].size <= maxLogWrite {
		size += b.lines[n].size
		n++
	}
	return b.text[:size], b.lines[:n]
}

// cut takes the first n lines away, and returns how long they were.
func (b *lineBatch) cut(n int) (size int) {
	for _, line := range b.lines[:n] {
		size += line.size
	}
	b.text, b.lines = b.text[size:], b.lines[n:]
	return size
}

// Queue keeps the lines of one sink until its goroutine has written them: who
// logs never waits for who reads (R23).
//
//   - The order of lines is kept. Each is written whole, or not at all and counted.
//   - A write that fails is tried again until it succeeds or the queue is closed.
//   - What does not fit is lost: counted, told once when it begins (onTrouble), and
//     once when it is over (onRevive).
type Queue struct {
	Name string
	w    lineWriter
	// What may wait, in bytes and lines.
	maxBytes, maxLines int
	// onTrouble hears that lines wait or are lost from now on, onRevive that it is
	// over, and how many were lost. They are called from any goroutine, without the
	// lock, and must not wait.
	onTrouble func(q *Queue, err error)
	onRevive  func(q *Queue, lost uint64)

	mu      sync.Mutex
	next    lineBatch     // what the goroutine takes next
	bytes   int           // in next and with the goroutine
	lines   int           // likewise
	empty   chan struct{} // closed when lines comes to 0; nil where nobody waits
	trouble bool          // told
	why     error         // the last failed write's
	missed  uint64        // lost since onRevive
	lost    uint64        // ever
	closed  bool

	wake chan struct{}
	stop chan struct{}
	done chan struct{}
}

// newLineQueue makes a queue; start starts its goroutine, finish ends it.
func newLineQueue(name string, w lineWriter) *Queue {
	return &Queue{
		Name: name, w: w, maxBytes: maxQueuedBytes, maxLines: MaxQueuedLines,
		onTrouble: func(*Queue, error) {}, onRevive: func(*Queue, uint64) {},
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
}

// start begins to write; the on… functions must be set before.
func (q *Queue) start() { go q.run() }

// Add takes a copy of line, or refuses it at once.
func (q *Queue) Add(level zerolog.Level, line []byte) error {
	q.mu.Lock()
	if q.closed {
		q.lost++
		q.mu.Unlock()
		return fs.ErrClosed
	}
	// A line that is larger than the bound is taken where it waits alone.
	if q.lines > 0 && (q.bytes+len(line) > q.maxBytes || q.lines >= q.maxLines) {
		q.lost++
		q.missed++
		first := !q.trouble
		q.trouble = true
		q.mu.Unlock()
		if first {
			q.onTrouble(q, errLogFull)
		}
		return errLogFull
	}
	q.next.text = append(q.next.text, line...)
	q.next.lines = append(q.next.lines, queuedLine{len(line), level})
	q.bytes += len(line)
	q.lines++
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return nil
}

// Roomy reports whether less than a quarter of what may wait does.
func (q *Queue) Roomy() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.roomyLocked()
}

func (q *Queue) roomyLocked() bool {
	return q.bytes < q.maxBytes/4 && q.lines < q.maxLines/4
}

// InTrouble reports whether lines are lost, or soon may be.
func (q *Queue) InTrouble() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.trouble
}

// state is for metrics.
func (q *Queue) state() (waiting int, lost uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lines, q.lost
}

func (q *Queue) run() {
	defer close(q.done)
	var batch lineBatch
	for q.await() {
		q.mu.Lock()
		batch, q.next = q.next, batch
		q.mu.Unlock()
		if !q.writeAll(batch) {
			return
		}
		batch.reset()
	}
}

// await waits for lines; false is that there are none and will not be.
func (q *Queue) await() bool {
	for {
		q.mu.Lock()
		some, closed := len(q.next.lines) > 0, q.closed
		q.mu.Unlock()
		if some || closed {
			return some
		}
		select {
		case <-q.wake:
		case <-q.stop:
		}
	}
}

// writeAll writes a batch, however often it has to try. It is false where it gave
// up, since the queue is to end.
func (q *Queue) writeAll(batch lineBatch) bool {
	for len(batch.lines) > 0 {
		last := q.isStopping()
		text, lines := batch.first()
		n, err := q.w.writeLines(text, lines)
		q.took(batch.cut(n), n)
		if err == nil {
			q.revive()
			continue
		}
		q.fail(err)
		switch {
		case errors.Is(err, syscall.EMSGSIZE): // the line is wrong: too long for a datagram
			q.drop(batch.cut(1))
		case last:
			return false
		default:
			q.pause()
		}
	}
	return true
}

func (q *Queue) isStopping() bool {
	select {
	case <-q.stop:
		return true
	default:
		return false
	}
}

func (q *Queue) pause() {
	select {
	case <-q.stop:
	case <-time.After(logRetry):
	}
}

// took makes room for other lines.
func (q *Queue) took(bytes, lines int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bytes -= bytes
	q.lines -= lines
	if q.lines == 0 && q.empty != nil {
		close(q.empty)
		q.empty = nil
	}
}

// drop counts a line that will never be written.
func (q *Queue) drop(size int) {
	q.mu.Lock()
	q.lost++
	q.missed++
	q.mu.Unlock()
	q.took(size, 1)
}

func (q *Queue) fail(err error) {
	q.mu.Lock()
	first := !q.trouble
	q.trouble, q.why = true, err
	q.mu.Unlock()
	if first {
		q.onTrouble(q, err)
	}
}

// revive tells that the trouble is over, once most of what waited is written.
func (q *Queue) revive() {
	q.mu.Lock()
	if !q.trouble || !q.roomyLocked() {
		q.mu.Unlock()
		return
	}
	missed := q.missed
	q.trouble, q.missed, q.why = false, 0, nil
	q.mu.Unlock()
	q.onRevive(q, missed)
}

// flush waits until nothing waits any more, but not longer than d.
func (q *Queue) flush(d time.Duration) {
	q.mu.Lock()
	if q.lines == 0 {
		q.mu.Unlock()
		return
	}
	if q.empty == nil {
		q.empty = make(chan struct{})
	}
	empty := q.empty
	q.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-empty:
	case <-q.done:
	case <-timer.C:
	}
}

// finish takes no more lines, and has the goroutine end when those that wait are
// written, or cannot be. It may be called again.
func (q *Queue) finish() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.closed = true
		close(q.stop)
	}
}

// ended waits for the goroutine until deadline, and says what was not written. It
// may be called again.
func (q *Queue) ended(deadline time.Time) error {
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-q.done:
	case <-timer.C:
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.lines > 0 {
		return fmt.Errorf("cannot write the last %d lines to %q: %w", q.lines, q.Name, cmp.Or(q.why, errLogStuck))
	}
	return nil
}

// gone reports whether the goroutine has ended: it is not in the middle of a write.
func (q *Queue) gone() bool {
	select {
	case <-q.done:
		return true
	default:
		return false
	}
}
