package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/akubra/akubra/synclog"
)

// Bounds of the live page, so that nobody else pays for it (R23).
const (
	maxWatchers   = 64
	watcherEvents = 8       // that a watcher may lag behind before its stream ends
	recordsKept   = 200     // of the synclog
	recordsAtOnce = 100     // in one event
	recordSize    = 4 << 10 // of a line; a longer one is shown without its target
	historyStep   = time.Minute
	historySteps  = 24 * 60
	sampleEvery   = time.Second
	watcherPace   = 30 * time.Second // for one event to be taken
)

// live feeds the page: one goroutine takes samples for all watchers together. While nobody
// watches, it takes only one a minute, for the history.
//
// start starts the goroutine; close ends it and every watcher's stream. Any goroutine may call the
// other methods. Nobody waits for a watcher: one that does not keep up loses its stream, and
// starts again.
type live struct {
	sample  func() any    // the state, for JSON
	owed    func() Owed   // for the history
	watched func(on bool) // the first one has come, or the last one has gone

	most int // watchers

	kick chan struct{} // somebody has come, or gone
	stop chan struct{}
	done sync.WaitGroup

	mu       sync.Mutex // before that of records; not held over a sample, nor over sending
	started  bool
	closed   bool
	watchers map[*watcher]struct{}
	history  []point // the last historySteps
	last     Owed    // at the last point
	records  ring
	sent     uint64 // records that were sent
	samples  int    // taken for watchers
}

// point is one minute of the history.
type point struct {
	at      int64 // Unix time
	owed    int
	in, out uint64 // in the minute before
}

// MarshalJSON keeps it short, because there are 1,440.
func (p point) MarshalJSON() ([]byte, error) {
	return json.Marshal([4]int64{p.at, int64(p.owed), int64(p.in), int64(p.out)}) //nolint:gosec // counts of a minute
}

// newLive makes one for a listener with so many connections. Streams may take at most half of
// them, so that health checks, scrapers and commands get in.
func newLive(connections int, sample func() any, owed func() Owed, watched func(on bool)) *live {
	return &live{
		most: min(maxWatchers, connections/2), sample: sample, owed: owed, watched: watched, watchers: map[*watcher]struct{}{},
		kick: make(chan struct{}, 1), stop: make(chan struct{}),
	}
}

func (l *live) start() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.started {
		return
	}
	l.started = true
	l.done.Go(l.run)
}

func (l *live) close() {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.stop)
	}
	l.mu.Unlock()
	l.dismiss()
	l.done.Wait()
}

// dismiss ends every watcher's stream.
func (l *live) dismiss() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range l.watchers {
		l.leaveLocked(w)
	}
}

func (l *live) run() {
	minute := time.NewTicker(historyStep)
	defer minute.Stop()
	second := time.NewTicker(sampleEvery)
	second.Stop()
	l.remember(time.Now())
	on := false
	for {
		tick := false
		select {
		case <-l.stop:
			return
		case <-l.kick:
		case <-second.C:
			tick = true
		case now := <-minute.C:
			l.remember(now)
		}
		if watched := l.isWatched(); watched != on {
			if on = watched; on {
				second.Reset(sampleEvery)
			} else {
				second.Stop()
			}
			l.watched(on)
		}
		if on {
			l.tell(tick)
		}
	}
}

// hasCome reports whether a watcher has yet to get a snapshot.
func (l *live) hasCome() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range l.watchers {
		if !w.told {
			return true
		}
	}
	return false
}

func (l *live) isWatched() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.watchers) > 0
}

// remember adds a point to the history.
func (l *live) remember(now time.Time) {
	o := l.owed()
	l.mu.Lock()
	defer l.mu.Unlock()
	p := point{at: now.Unix(), owed: o.Pending}
	if len(l.history) > 0 {
		p.in, p.out = o.Added-l.last.Added, o.Closed-l.last.Closed
	}
	if len(l.history) == historySteps {
		l.history = append(l.history[:0], l.history[1:]...)
	}
	l.history, l.last = append(l.history, p), o
	l.sendLocked("minute", p)
}

// tell takes a sample and sends it: to new watchers, together with everything else, and to all at
// each tick.
func (l *live) tell(tick bool) {
	if !tick && !l.hasCome() {
		return
	}
	state := l.sample()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.samples++
	if records, missed, now := l.records.since(l.sent, recordsAtOnce); tick && len(records) > 0 {
		l.sent = now
		l.sendLocked("records", map[string]any{"records": records, "missed": missed})
	}
	if tick {
		l.sendLocked("state", state)
	}
	var snapshot []byte
	for w := range l.watchers {
		if w.told {
			continue
		}
		if snapshot == nil {
			records := l.recordsLocked()
			snapshot = event("snapshot", map[string]any{"state": state, "history": l.history, "records": records})
		}
		w.told = true
		l.giveLocked(w, snapshot)
	}
}

// recordsLocked returns the last records for a new watcher: those that the others have.
func (l *live) recordsLocked() []json.RawMessage {
	alone := true
	for w := range l.watchers {
		alone = alone && !w.told
	}
	all, _, now := l.records.since(0, recordsKept)
	if alone {
		l.sent = now
		return all
	}
	return all[:max(0, len(all)-int(min(now-l.sent, recordsKept)))] //nolint:gosec // at most recordsKept
}

// sendLocked sends an event to all watchers that have their snapshot.
func (l *live) sendLocked(name string, data any) {
	var e []byte
	for w := range l.watchers {
		if !w.told {
			continue
		}
		if e == nil {
			e = event(name, data)
		}
		l.giveLocked(w, e)
	}
}

func (l *live) giveLocked(w *watcher, e []byte) {
	select {
	case w.events <- e:
	default: // it is too slow
		l.leaveLocked(w)
	}
}

// event is one event of a stream. JSON has no line ends in it.
func event(name string, data any) []byte {
	body, err := json.Marshal(data)
	if err != nil {
		panic(err) // can only be a type of this package
	}
	return []byte("event: " + name + "\ndata: " + string(body) + "\n\n")
}

var errGoingAway = errors.New("cannot show the page: the proxy is stopping")

// watch begins a stream of events on conn.
func (l *live) watch(conn net.Conn) (*watcher, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return nil, errGoingAway
	case len(l.watchers) >= l.most:
		return nil, fmt.Errorf("cannot show the page to more than %d watchers at once: close one of the others", l.most)
	}
	w := &watcher{live: l, conn: conn, events: make(chan []byte, watcherEvents)}
	l.watchers[w] = struct{}{}
	l.wake()
	return w, nil
}

func (l *live) wake() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

func (l *live) leaveLocked(w *watcher) {
	if _, ok := l.watchers[w]; ok {
		delete(l.watchers, w)
		close(w.events)
		l.wake()
	}
}

// watcher is one stream, as the server reads it to send it.
type watcher struct {
	live   *live
	conn   net.Conn
	events chan []byte
	rest   []byte
	told   bool // it has its snapshot; under live's mu
}

// Read waits for the next event. The server sets one deadline for a whole response, and this
// response never ends; so each event gets a deadline of its own.
func (w *watcher) Read(p []byte) (int, error) {
	if len(w.rest) == 0 {
		e, ok := <-w.events
		if !ok {
			return 0, io.EOF
		}
		w.rest = e
		_ = w.conn.SetWriteDeadline(time.Now().Add(watcherPace)) // sending says what is wrong
	}
	n := copy(p, w.rest)
	w.rest = w.rest[n:]
	return n, nil
}

// Close is called once the stream has ended, or its reader has gone.
func (w *watcher) Close() error {
	w.live.mu.Lock()
	defer w.live.mu.Unlock()
	w.live.leaveLocked(w)
	return nil
}

// ring holds the last lines of the synclog. The zero value is ready to use. It has a lock of its
// own, so that whoever writes the synclog never waits for a sample.
type ring struct {
	mu    sync.Mutex
	lines [recordsKept][]byte
	n     uint64 // lines so far
}

func (r *ring) add(line []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	slot := &r.lines[r.n%recordsKept]
	*slot = append((*slot)[:0], line...)
	r.n++
}

// since returns the lines after the first n, at most the last most of them, how many are left out,
// and how many there have been in total.
func (r *ring) since(n uint64, most uint64) (lines []json.RawMessage, missed, now uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	from := max(n, r.n-min(r.n, most))
	for i := from; i < r.n; i++ {
		lines = append(lines, bytes.Clone(r.lines[i%recordsKept]))
	}
	return lines, from - n, r.n
}

// Line takes a line of the synclog for the page. It does not keep the slice.
func (a *Admin) Line(line []byte) {
	line = bytes.TrimSuffix(line, []byte("\n"))
	if len(line) > recordSize {
		r, err := synclog.ParseRecord(line)
		if err != nil {
			return
		}
		r.Path, r.UserAgent = "", ""
		if line = r.AppendJSON(nil); len(line) > 2*recordSize {
			return
		}
	}
	a.live.records.add(line)
}
