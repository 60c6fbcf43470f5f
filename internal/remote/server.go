package remote

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/akubra/akubra/internal/text"
	"github.com/akubra/akubra/synclog/journal"
	"github.com/akubra/akubra/synclog/repair"
	"github.com/akubra/akubra/synclog/task"
)

// sessionTimeout is how long a repair beside the proxy may be silent. It calls every
// sessionTimeout/3 (Client); if it was killed, what it holds is given back after this time.
const sessionTimeout = 30 * time.Second

// Calls are the calls of the protocol, each as POST /journal/CALL.
var Calls = []string{"open", "live", "close", "next", "add", "resolve", "resolved", "note", "busy", "find", "parked", "begin", "seal", "unseal", "end"}

// Store is what the protocol needs from the journal besides its tasks. Any goroutine may call its
// methods.
type Store interface {
	Stats() journal.Stats
	// Failed reports whether nothing can be written any more.
	Failed() bool
	// Flush returns once everything written so far can be read from the files.
	Flush() error
}

// Server lets `akubra repair` and `akubra verify` work on the journal of a running proxy, which
// alone may have it open, and under its fence, because a client's write must win. One repair at a
// time has a session; the keys that it has fenced belong to it, and are given back when it ends or
// falls silent.
type Server struct {
	o ServerOptions

	mu      sync.Mutex
	session string // "" without one
	settle  bool   // it is for a person's decisions
	begun   map[wireKey]struct{}
	silent  *time.Timer // ends the session
	closed  bool
}

// ServerOptions are provided by the proxy. Any goroutine may call the functions.
type ServerOptions struct {
	Journal  repair.Journal // uses the backends' names
	Store    Store          // the same journal
	Names    []string       // of the backends, by the journal's index
	Dir      string         // the journal's directory
	Fence    repair.Fence
	Resolved func(t *task.Task, action string)
	Out      func() []string // names of the backends to leave alone
	Busy     func() string   // why no outside repair is allowed; "" if it is
	// Settled is told of each key that a person has decided about in a session (R35); may be nil.
	Settled func(t *task.Task, action, by string)
	// Parked is told of each key that an outside repair has parked; may be nil.
	Parked func(t *task.Task)
}

// NewServer makes a server without a session.
func NewServer(o ServerOptions) *Server {
	if o.Busy == nil {
		o.Busy = func() string { return "" }
	}
	return &Server{o: o}
}

// End ends the session, if any; another one can be opened.
func (a *Server) End() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.endLocked()
}

// Close ends the session, if any, and allows no more.
func (a *Server) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	a.endLocked()
}

func (a *Server) endLocked() {
	if a.session == "" {
		return
	}
	a.silent.Stop()
	for key := range a.begun {
		a.o.Fence.End(string(key.Bucket), string(key.Key))
	}
	a.session, a.begun, a.silent = "", nil, nil
}

// errAnother is temporary: the other session ends, or falls silent.
var errAnother = errors.New("another `akubra repair` is running")

var errSession = errors.New("this repair's session has ended: another one has started, or it was silent for too long")

// open starts a session, unless another repair is running. While the proxy itself repairs, only a
// person may settle keys (R35): those are keys that its repair leaves alone, and the fence keeps
// the two apart.
func (a *Server) open(settles bool) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.closed:
		return "", errors.New("the proxy is stopping")
	case a.o.Busy() != "" && !settles:
		return "", errors.New(a.o.Busy())
	case a.session != "":
		return "", errAnother
	}
	session := rand.Text()
	a.session, a.settle, a.begun = session, settles, map[wireKey]struct{}{}
	a.silent = time.AfterFunc(sessionTimeout, func() { _ = a.end(session) })
	return session, nil
}

// settles reports whether a session is for a person's decisions.
func (a *Server) settles(session string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.session == session && a.settle
}

// end ends a session.
func (a *Server) end(session string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.session != session {
		return errSession
	}
	a.endLocked()
	return nil
}

// in calls what on behalf of the session, which thereby counts as alive.
func (a *Server) in(session string, what func()) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.session == "" || a.session != session {
		return errSession
	}
	a.silent.Reset(sessionTimeout)
	what()
	return nil
}

func (a *Server) begin(session string, key wireKey) (ok bool, err error) {
	err = a.in(session, func() {
		if _, mine := a.begun[key]; !mine && a.o.Fence.Begin(string(key.Bucket), string(key.Key)) {
			a.begun[key] = struct{}{}
			ok = true
		}
	})
	return ok, err
}

// seal keeps clients from writing a key that was begun, or allows it again.
func (a *Server) seal(session string, key wireKey, on bool) (ok bool, err error) {
	err = a.in(session, func() {
		_, mine := a.begun[key]
		switch {
		case !mine:
		case on:
			ok = a.o.Fence.Seal(string(key.Bucket), string(key.Key))
		default:
			a.o.Fence.Unseal(string(key.Bucket), string(key.Key))
			ok = true
		}
	})
	return ok, err
}

func (a *Server) finish(session string, key wireKey) (clean bool, err error) {
	err = a.in(session, func() {
		if _, mine := a.begun[key]; mine {
			delete(a.begun, key)
			clean = a.o.Fence.End(string(key.Bucket), string(key.Key))
		}
	})
	return clean, err
}

// busy reports whether a key is pending or being written; parked reports whether it waits for a
// person.
func (a *Server) busy(key wireKey) (busy, parked bool, err error) {
	bucket, name := string(key.Bucket), string(key.Key)
	if busy, parked, err = repair.Pending(a.o.Journal, bucket, name); busy || parked || err != nil {
		return busy, parked, err
	}
	if a.o.Fence == nil {
		return false, false, nil
	}
	if !a.o.Fence.Begin(bucket, name) {
		return true, false, nil
	}
	return !a.o.Fence.End(bucket, name), false, nil
}

// serve answers one call of a repair. Calls that wait for the disk run without the mutex, for
// whoever has a session.
func (a *Server) serve(call string, q *wireRequest, by string) (r wireAnswer, err error) {
	switch call {
	case "open":
		r.Out = a.o.Out()
		r.Session, err = a.open(q.Settle)
		return r, err
	case "close":
		// Whoever reads the files next must see what was resolved.
		return r, errors.Join(a.end(q.Session), a.o.Store.Flush())
	case "begin":
		r.OK, err = a.begin(q.Session, q.Key)
		return r, err
	case "seal", "unseal":
		r.OK, err = a.seal(q.Session, q.Key, call == "seal")
		return r, err
	case "end":
		r.OK, err = a.finish(q.Session, q.Key)
		return r, err
	case "next": // also for a dry run, which has no session
		var t task.Task
		if t, r.Next, r.OK, err = a.o.Journal.Next(q.Cursor); r.OK {
			r.Task = hidden(&t)
		}
		return r, err
	case "parked": // like next
		var t task.Task
		if t, r.Next, r.OK, err = repair.OnlyParked(a.o.Journal).Next(q.Cursor); r.OK {
			r.Task = hidden(&t)
		}
		return r, err
	case "find": // like next
		finder, finds := a.o.Journal.(repair.Finder)
		if !finds {
			return r, errors.New("the journal cannot be searched")
		}
		var t task.Task
		if t, r.Next, r.OK, err = finder.Find(string(q.Key.Bucket), string(q.Key.Key)); r.OK {
			r.Task = hidden(&t)
		}
		return r, err
	case "busy": // for verify, which has no session either
		r.OK, r.Parked, err = a.busy(q.Key)
		return r, err
	case "add": // verify has no session
		return r, a.o.Journal.Add(&q.Task)
	}
	if err := a.in(q.Session, func() {}); err != nil {
		return r, err
	}
	t := q.Task
	switch call {
	case "live":
		r.Out = a.o.Out()
	case "resolve":
		r.OK, err = a.o.Journal.Resolve(&t)
	case "resolved":
		a.o.Resolved(&t, q.Action)
		if a.o.Settled != nil && a.settles(q.Session) {
			a.o.Settled(&t, q.Action, by)
		}
	case "note":
		var stands bool
		stands, err = a.o.Journal.Note(&t)
		r.Gone = err == nil && !stands
		if err == nil && stands && t.Parked != "" && a.o.Parked != nil {
			a.o.Parked(&t)
		}
	}
	return r, err
}

// Answer answers POST /journal/CALL with an HTTP status and either the value for the JSON body or
// an error. by is who calls, for Settled.
func (a *Server) Answer(call string, body []byte, by string) (status int, answer any, err error) {
	var q wireRequest
	if err := json.Unmarshal(body, &q); err != nil {
		return http.StatusBadRequest, nil, fmt.Errorf("cannot read the call: %w", err)
	}
	r, err := a.serve(call, &q, by)
	switch {
	case errors.Is(err, errAnother):
		return http.StatusLocked, nil, err
	case err != nil:
		return http.StatusConflict, nil, err
	}
	return http.StatusOK, &r, nil
}

// Status is the answer to GET /journal, and part of /status.
type Status struct {
	PID       int            `json:"pid"`
	Dir       string         `json:"dir"`
	ID        string         `json:"id"`     // of Dir (dirID)
	Failed    bool           `json:"failed"` // nothing can be written any more (OnJournalError)
	Pending   int            `json:"pending"`
	Open      int            `json:"open"`
	Parked    int            `json:"parked"`
	ParkedFor map[string]int `json:"parked_for"` // by reason
	Gone      int            `json:"gone"`       // keys pending for backends that are no longer configured
	Backends  map[string]int `json:"backends"`   // keys pending for each
	Oldest    *time.Time     `json:"oldest,omitempty"`
	Segments  int            `json:"segments"`
	Bytes     int64          `json:"bytes"`
	Written   uint64         `json:"written"`
	Batches   uint64         `json:"batches"`
	Syncs     uint64         `json:"syncs"`
	Failures  uint64         `json:"failures"`
	Dropped   uint64         `json:"dropped"` // not recorded since the journal failed (OnJournalError: continue)
	Damaged   uint64         `json:"damaged"`
	Repairing bool           `json:"repairing"` // an `akubra repair` is running
}

// StatusOf is a status without what only the server knows.
func StatusOf(s *journal.Stats, names []string) Status {
	r := Status{
		Pending: s.Pending, Open: s.Open, Parked: s.Parked, Gone: s.Gone, Backends: map[string]int{}, ParkedFor: map[string]int{},
		Segments: s.Segments, Bytes: s.Bytes, Written: s.Written, Batches: s.Batches, Syncs: s.Syncs,
		Failures: s.Failures, Dropped: s.Dropped, Damaged: s.Damaged,
	}
	for i, name := range names {
		if i < len(s.ByBackend) {
			r.Backends[name] = s.ByBackend[i]
		}
	}
	for why, n := range s.ParkedFor {
		r.ParkedFor[string(why)] = n
	}
	if s.Oldest != 0 {
		oldest := time.Unix(0, int64(s.Oldest)).UTC()
		r.Oldest = &oldest
	}
	return r
}

// Status returns what is pending, and whether a session is open.
func (a *Server) Status() Status {
	stats := a.o.Store.Stats()
	s := StatusOf(&stats, a.o.Names)
	s.PID, s.Dir, s.Failed = os.Getpid(), a.o.Dir, a.o.Store.Failed()
	s.ID, _ = dirID(s.Dir) // "" never matches
	a.mu.Lock()
	s.Repairing = a.session != ""
	a.mu.Unlock()
	return s
}

// dirID identifies a directory of this machine, whatever path leads to it.
func dirID(dir string) (string, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return "", fmt.Errorf("cannot find the journal's directory %q: %w", dir, text.Cause(err))
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		panic("journal: a file without an inode")
	}
	return fmt.Sprintf("%d:%d", stat.Dev, stat.Ino), nil
}
