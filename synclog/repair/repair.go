// Package repair makes backends equal again. It works by state: for each key that
// the journal holds as pending it looks at what the backends have now, decides by
// pure functions of that and of what was acknowledged (plan.go) what is to be done,
// copies or deletes, looks again, and only then closes the key. Where what is known is
// not enough, the key is parked (R35).
//
// The way of a task, by files:
//
//	scan.go gate.go           takes it from the journal, oldest first, and gives it to a worker once
//	                          the gates of the backends that lack it have room
//	task_run.go               one task from its fence to its end
//	observe.go look.go        the look at the backends
//	know*.go plan*.go         what is known, and what follows from it: pure
//	act*.go copy*.go multipart.go
//	                          an object is copied or deleted
//	subresource.go            an object's tags, ACL and the like
//	bucket.go                 a bucket, and its settings
//	outcome.go parked.go      what comes of it
//
// settle.go is a person's decision. verify*.go walks listings to find what no journal knows.
//
// Ownership: a Repairer owns its workers. RunOnce returns when they have ended;
// Start starts them and Close awaits their end. Only tasks that are
// being worked on take memory: the journal is the queue.
package repair

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/akubra/akubra/synclog/task"
)

// Credentials sign requests to a backend. Without an AccessKey requests go
// unsigned. They print without their secrets.
type Credentials struct {
	AccessKey, SecretKey, SessionToken string
	Region                             string // "" is us-east-1
}

// String hides the secrets.
func (c Credentials) String() string { return "credentials of " + c.Region }

// GoString hides the secrets.
func (c Credentials) GoString() string { return c.String() }

// MarshalText hides the secrets from encoders.
func (c Credentials) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// Backend describes one of the proxy's backends.
type Backend struct {
	Name        string // host and port, as in the journal
	URL         string // scheme, host and port
	Credentials Credentials
	TLS         *tls.Config // for https; may be nil
	// Transport takes the requests; nil: sockets of repair's own.
	Transport http.RoundTripper
	// BytesPerSecond bounds what repair sends there and reads there, each copy counting at both its ends;
	// 0: no bound.
	BytesPerSecond int64
	// Weight is how near it is, or cheap: content is read where that is highest.
	Weight int
}

// Options for a Repairer. Zero values of optional fields are replaced by New.
type Options struct {
	Backends []Backend // all of the proxy's, those under maintenance too
	Journal  Journal
	Fence    Fence // may be nil
	// Concurrency is how many tasks are worked on at once; 0: as many as the backends carry, up to Most.
	Concurrency int
	// Most bounds that; 0 is MostConcurrency.
	Most int
	// Pressed reports whether clients need all the room that there is at a backend: repair stays behind them. It
	// is asked often, from any goroutine; may be nil.
	Pressed func(name string) bool
	// ObjectsPerSecond bounds the work; 0: no bound.
	ObjectsPerSecond float64
	// MaxTries is the number of failures after which a task is parked; 0 is 20.
	MaxTries int
	// RetryParked takes parked tasks too.
	RetryParked bool
	// Maintained tells which backends get nothing (R14); may be nil.
	Maintained func(name string) bool
	// DryRun looks and decides, and tells OnResolved what would be done.
	DryRun bool
	// CopyBucketConfig copies policy, CORS, lifecycle and so on of buckets where
	// the journal has a write of them; else these are parked, and so shown.
	CopyBucketConfig bool
	// OnConflict is what becomes of a key that was changed past the proxy; the zero value
	// leaves it to a person.
	OnConflict Policy
	// Memory remembers what backends do not keep; nil: only this process does.
	Memory Memory
	// IgnoreETags is for backends whose ETags are no MD5 (R18): contents of the same size are
	// compared.
	IgnoreETags bool

	DialTimeout time.Duration // 0 is 3 s
	// Timeout bounds the wait for progress, never a whole transfer; 0 is 30 s.
	Timeout time.Duration
	// RetryBase and RetryMax bound the backoff of one task: full jitter below
	// RetryBase * 2^tries, at most RetryMax. 0 are 1 s and 15 minutes.
	RetryBase, RetryMax time.Duration
	// LateWait is how long a key rests, after all backends were seen equal, if one of them may still
	// carry out a write that it has not answered; 0: it is closed at once.
	LateWait time.Duration
	// IdleInterval is how often follow mode looks into the journal where nothing
	// is to be done; 0 is 1 s. It is stretched where a look takes long.
	IdleInterval time.Duration

	Log Log // may be nil
	// OnResolved is called, from any goroutine, when a task has been closed, with
	// what was done in a word or two ("copied a:1 to b:1", "equal").
	OnResolved func(t task.Task, action string)
	// OnWrote is called, from any goroutine, when a backend has taken a write, and OnRefused when it has
	// refused one for a reason of its own. Both may be nil.
	OnWrote   func(name string)
	OnRefused func(name string, err error)
	// OnFailed is called when a task stays for later; t is as it was noted.
	OnFailed func(t task.Task, err error)
	// Pending is the number of pending keys, for Status' ETA; may be nil.
	Pending func() int
	// Now is the clock of Seq; nil is time.Now.
	Now func() time.Time
}

// Summary is what RunOnce came to. Seen = Resolved + Failed + Parked + Left.
type Summary struct {
	Seen     int // tasks that were looked at
	Resolved int // closed; in a dry run: would be
	Copied   int // backends that were given an object
	Deleted  int // backends that an object was deleted from
	Equal    int // tasks that were found equal
	Failed   int // stay, with backoff
	Parked   int // stay for a human
	Left     int // stay since a backend is out, or a client writes the key, or it was moved to later
	Bytes    int64
}

// Repairer repairs. RunOnce and Start exclude each other. Status and Kick may be
// called from any goroutine at any time.
type Repairer struct {
	o        Options
	backends []*backend
	index    map[string]int // of backends, by name
	objects  *rate.Limiter  // nil: no bound
	counts   counts
	policy   policy
	pairs    pairs
	kick     chan struct{}
	asked    chan struct{}  // there is a wanted key
	freed    chan struct{}  // there may be room at a gate
	late     chan struct{}  // a key was left for a second look
	running  sync.WaitGroup // workers, the scanner, probes to come

	mu       sync.Mutex          // never held over a wait
	inFlight map[string][]int    // keys being worked on, and the gates that they have a place at
	wanted   []wantedKey         // keys to be taken first
	stop     context.CancelFunc  // nil: neither RunOnce nor Start
	told     map[string]struct{} // what was warned of once

	closeSession func() // of Start's
}

// New checks the options; nothing is dialled yet.
func New(o Options) (*Repairer, error) {
	if len(o.Backends) < 2 {
		return nil, errors.New("cannot repair with fewer than two backends")
	}
	if o.Journal == nil {
		return nil, errors.New("cannot repair without a journal")
	}
	o.Most = defaultTo(o.Most, MostConcurrency)
	o.MaxTries = defaultTo(o.MaxTries, 20)
	o.DialTimeout = defaultTo(o.DialTimeout, 3*time.Second)
	o.Timeout = defaultTo(o.Timeout, 30*time.Second)
	o.RetryBase = defaultTo(o.RetryBase, time.Second)
	o.RetryMax = defaultTo(o.RetryMax, 15*time.Minute)
	o.IdleInterval = defaultTo(o.IdleInterval, time.Second)
	if o.Log == nil {
		o.Log = silence{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	r := &Repairer{
		o: o, index: map[string]int{}, kick: make(chan struct{}, 1), asked: make(chan struct{}, 1), freed: make(chan struct{}, 1), late: make(chan struct{}, 1),
		inFlight: map[string][]int{}, told: map[string]struct{}{},
		objects: objectLimiter(o.ObjectsPerSecond),
	}
	var err error
	if r.backends, err = newBackends(o.Backends, o.DialTimeout, o.Timeout, r.workerCount(), o.Log); err != nil {
		return nil, err
	}
	if o.Memory == nil {
		r.o.Memory, _ = OpenManners("") // nothing is read
	}
	for i, b := range r.backends {
		b.gate = newGate(o.Concurrency, o.Most)
		if _, twice := r.index[b.name]; twice {
			return nil, fmt.Errorf("cannot repair with backend %q twice", b.name)
		}
		r.index[b.name] = i
	}
	r.policy = policy{newest: o.OnConflict.Newest, prefer: -1}
	if name := o.OnConflict.Prefer; name != "" {
		i, known := r.index[name]
		if !known {
			return nil, fmt.Errorf("cannot prefer backend %q in conflicts: there is none of that name", name)
		}
		r.policy.prefer = i
	}
	return r, nil
}

func defaultTo[T int | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}

// begin makes the context of a session; end ends it and awaits its goroutines.
func (r *Repairer) begin(parent context.Context) (ctx context.Context, end func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stop != nil {
		return nil, nil, errors.New("cannot repair: it is running already")
	}
	ctx, r.stop = context.WithCancel(parent)
	stop := r.stop
	for _, b := range r.backends {
		b.breaker.forget() // the last session's probes are gone
	}
	return ctx, func() {
		stop()
		r.running.Wait()
		for _, b := range r.backends {
			b.Close()
		}
		r.mu.Lock()
		r.stop = nil
		r.mu.Unlock()
	}, nil
}

// later calls f after a while, unless the session has ended.
func (r *Repairer) later(ctx context.Context, wait time.Duration, f func()) {
	r.running.Go(func() {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
			f()
		case <-ctx.Done():
		}
	})
}

// Start follows the journal until Close. A second Start does nothing.
func (r *Repairer) Start() {
	ctx, end, err := r.begin(context.Background())
	if err != nil {
		return
	}
	r.running.Go(func() { r.follow(ctx) })
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closeSession = end
}

// Close ends what Start has started, and waits. Tasks under way are broken off
// and stay in the journal.
func (r *Repairer) Close() {
	r.mu.Lock()
	end := r.closeSession
	r.closeSession = nil
	r.mu.Unlock()
	if end != nil {
		end()
	}
}

// Kick makes a follower look into the journal now.
func (r *Repairer) Kick() {
	select {
	case r.kick <- struct{}{}:
	default: // it will
	}
}
