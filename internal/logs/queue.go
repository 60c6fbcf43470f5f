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

// Limits of what may be queued for one sink (R23): a few seconds' lines of a busy proxy.
const (
	maxQueuedBytes = 4 << 20
	MaxQueuedLines = 16 << 10
	// maxLogWrite bounds what goes out in one write. A pipe takes up to this many bytes atomically,
	// so that they do not mix with what another process writes to it.
	maxLogWrite = 4 << 10
	// keptLogBuffer is how much memory an idle queue keeps.
	keptLogBuffer = 64 << 10
	// logRetry is the pause after a failed write.
	logRetry = 250 * time.Millisecond
)

// Reasons why a line was not accepted or not written.
var (
	errLogFull  = errors.New("its queue is full")
	errLogStuck = errors.New("it accepts no data")
)

// lineWriter is where a queue's lines go. Only one goroutine calls it, and it may block for any
// time.
type lineWriter interface {
	// writeLines writes lines, which are concatenated in text, and returns how many it wrote
	// completely; fewer than all of them only with an error.
	writeLines(text []byte, lines []queuedLine) (n int, err error)
}

// queuedLine is the length of a line, and its level for syslog.
type queuedLine struct {
	size  int
	level zerolog.Level
}

// lineBatch is a sequence of lines.
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

// first returns the lines that go out in one write, at least one.
func (b *lineBatch) first() (text []byte, lines []queuedLine) {
	n := 1
	size := b.lines[0].size
	for n < len(b.lines) && size+b.lines[n].size <= maxLogWrite {
		size += b.lines[n].size
		n++
	}
	return b.text[:size], b.lines[:n]
}

// cut removes the first n lines and returns their length.
func (b *lineBatch) cut(n int) (size int) {
	for _, line := range b.lines[:n] {
		size += line.size
	}
	b.text, b.lines = b.text[size:], b.lines[n:]
	return size
}

// Queue keeps the lines of one sink until its goroutine has written them: nobody who logs waits for
// a reader (R23).
//
//   - Lines keep their order. Each is written completely, or not at all and counted.
//   - A failed write is tried again until it succeeds or the queue is closed.
//   - Lines that do not fit are lost and counted; this is reported once when it starts
//     (onTrouble) and once when it is over (onRevive).
type Queue struct {
	Name string
	w    lineWriter
	// Limits of what may be queued, in bytes and lines.
	maxBytes, maxLines int
	// onTrouble is told when lines start to be delayed or lost, onRevive when that is over and how
	// many were lost. They are called on any goroutine, without the lock, and must not wait.
	onTrouble func(q *Queue, err error)
	onRevive  func(q *Queue, lost uint64)

	mu      sync.Mutex    // not held while a line is written
	next    lineBatch     // what the goroutine takes next
	bytes   int           // in next and with the goroutine
	lines   int           // the same for lines
	empty   chan struct{} // closed when lines becomes 0; nil if nobody waits
	trouble bool          // onTrouble has been called
	why     error         // error of the last failed write
	missed  uint64        // lost since onRevive
	lost    uint64        // in total
	closed  bool

	wake chan struct{}
	stop chan struct{}
	done chan struct{}
}

// newLineQueue makes a queue; start starts its goroutine, finish stops it.
func newLineQueue(name string, w lineWriter) *Queue {
	return &Queue{
		Name: name, w: w, maxBytes: maxQueuedBytes, maxLines: MaxQueuedLines,
		onTrouble: func(*Queue, error) {}, onRevive: func(*Queue, uint64) {},
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
}

// start starts writing; the on… functions must be set before.
func (q *Queue) start() { go q.run() }

// Add takes a copy of line, or refuses it at once.
func (q *Queue) Add(level zerolog.Level, line []byte) error {
	q.mu.Lock()
	if q.closed {
		q.lost++
		q.mu.Unlock()
		return fs.ErrClosed
	}
	// A line larger than the limit is accepted if no other line is queued.
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

// Roomy reports whether the queue is less than a quarter full.
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

// await waits for lines; it returns false if there are none and will be none.
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

// writeAll writes a batch, trying as often as necessary. It returns false if it gave up because the
// queue is being closed.
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
		case errors.Is(err, syscall.EMSGSIZE): // the line itself is the problem: too long for a datagram
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

// revive reports that the trouble is over, once most queued lines are written.
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

// flush waits until nothing is queued any more, but not longer than d.
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

// finish accepts no more lines and has the goroutine stop once the queued ones are written or
// cannot be. It may be called more than once.
func (q *Queue) finish() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.closed = true
		close(q.stop)
	}
}

// ended waits for the goroutine until deadline and reports what was not written. It may be called
// more than once.
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

// gone reports whether the goroutine has ended, so that no write is in progress.
func (q *Queue) gone() bool {
	select {
	case <-q.done:
		return true
	default:
		return false
	}
}
