// Package engine is a request's way through the proxy: head and body come in from the client and
// go out to every backend at once, the first positive answer goes back, and what went wrong goes
// to the synclog.
//
// The files, by the part that they belong to:
//
//	engine.go hooks.go generation.go     what the engine is made with, what it needs, what can change
//	handler.go expect.go early.go        a request begins
//	head.go request*.go                  its head, and the owners of its fields
//	slots.go primary.go patience.go uploads.go issuer.go removal.go
//	                                     which backends it is for
//	body.go form.go sizes.go copysource.go deletes*.go
//	                                     its body, and what is read of that
//	leg*.go                              one backend's copy: sending, receiving, judging, counting
//	race*.go decide*.go versions*.go     which answer counts: of writes, of conditions, where ids differ
//	reads*.go                            which backends a read asks
//	order*.go                            writes to one key or bucket, in their order
//	promise.go promise_taken.go outcome_facts.go divergence.go
//	                                     what the journal and the synclog hear
//	answer*.go detach.go hold.go errors.go
//	                                     what the client hears
//	client*.go                           the client's connection
//	panic.go shortage.go slow.go letgo.go shutdown.go
//	                                     what goes wrong, and the end
//
// What needs no request is in packages beside it: body, ring and pipes (the message), pick (who
// answers) and outcome (who lacks what), content (what bodies say), lane and latency (what is known
// of a backend), recent (what was seen lately).
//
// Goroutines: the server has one per client connection. It runs the handler, writes to the ring,
// and sends to the backends what can be sent without waiting. A poller takes a short answer, and so
// the leg to its end; a leg with any other answer, or without an idle connection, has a goroutine, and
// another one while the rest of a body is being sent. The handler of a write returns once the body
// has been read; then the leg that decides the request answers it (detach.go). A request's memory
// belongs to its request value, which is reference-counted: the handler and each leg hold it, and the
// last one returns it to the pool.
//
// The engine knows neither configuration nor log formats: hooks.go says what it needs, and
// internal/service provides it.
package engine

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/akubra/akubra/engine/lane"
	"github.com/akubra/akubra/engine/latency"
	"github.com/akubra/akubra/engine/recent"
	"github.com/akubra/akubra/internal/words"
	"github.com/akubra/akubra/synclog/task"
)

// How many backends must have taken a write before the client is answered (R3).
const (
	AckFirst  = words.AckFirst
	AckQuorum = words.AckQuorum
	AckAll    = words.AckAll
)

// Options are everything an Engine needs. All fields are required unless they say otherwise.
type Options struct {
	Backends []Backend // 1 to MaxBackends, numbered as the Limiter numbers them
	Limiter  Limiter
	Synclog  Synclog
	Log      Log
	Metrics  Metrics
	Journal  Journal // nil: what backends owe is not kept
	Health   Health  // nil: nobody wants to know

	// Domains are the proxy's own host names, below which virtual-host style
	// buckets are found (R27). May be empty.
	Domains []string
	// Added to requests and answers that have no header of that name (R2, R5).
	AdditionalRequestHeaders  map[string]string
	AdditionalResponseHeaders map[string]string

	ConnectionTimeout time.Duration // without progress of a backend (R11)
	StallTimeout      time.Duration // how long a leg may hold the writer back (R10)
	SlotTimeout       time.Duration // how long a request waits at the limit (R13)

	RingSize              int   // bytes; rounded up to a power of two
	MaxHeaderSize         int   // bytes of a request's head
	MaxBodySize           int64 // bytes; 0 is no limit
	MaxConcurrentRequests int
	MaxConnections        int
	// MinClientRate is the least rate, in bytes per second, at which a client may send a body or
	// take an answer; 0 means any.
	MinClientRate int64

	WriteAck string // AckFirst, AckQuorum or AckAll
	// ReadFrom are the backends' weights; nil means that all are equal (R28, R30). Primary names
	// backends that speak for buckets before all others; the first matching rule counts (R28).
	ReadFrom []int
	Primary  []PrimaryRule
	// PrimaryWait is how long to wait for the primary's answer to a write after another backend
	// has named the version that it made.
	PrimaryWait time.Duration
	// ReadPolicy says which backends are asked for a read (Read…). StaleReads: see Stale… (R30).
	ReadPolicy, StaleReads string
	// HedgeAfter is how long a read's backend may take before another one is asked as well, for at
	// most the share HedgeBudget of all reads. With HedgeP95 it is that backend's 95th percentile.
	// 0 means never.
	HedgeAfter  time.Duration
	HedgeP95    bool
	HedgeBudget float64
	// ReadCheck is the share of reads for which another backend is asked for the object as well,
	// to compare the two.
	ReadCheck float64

	CompareETags bool // R18
	// RecordReads says that GET and HEAD are among the recorded methods (R17), so that the losers'
	// answers to them are worth waiting for.
	RecordReads bool
	// Wanted is told of a key that a client is waiting for because a backend owes it: repair
	// should take it first. It is called on any goroutine and must not wait. May be nil.
	Wanted func(bucket, key string)
	// FindVersion asks the backends for a version of an object. It returns the set of those that have it, and of
	// those that may have it. It may wait for some seconds. nil means that nobody can ask.
	FindVersion func(bucket, key, id string) (have, may uint64)
	// OwedPart returns the set of backends that owe the newest of what a target names: tags, an ACL or the like of
	// a key, or without a key a setting of the bucket (R30). It may read the disk. nil means none.
	OwedPart func(bucket, key, target []byte) uint64
	// Removing returns the set of backends that owe the acknowledged removal of a bucket, made again or
	// not, and those of them whose legs are out: what they have under the name is the old one (R30). nil
	// means none.
	Removing func(bucket []byte) (owed, underWay uint64)
	// TLS is for the client side; nil means plain HTTP.
	TLS *tls.Config

	// Other than the defaults only in tests: the constants of these names.
	firstTimeout, headGrace, silentGrace, paceTime, answerPulse, drainGrace, continueWait, briefWait time.Duration
}

// Engine is the proxy's server. New makes it, Serve runs it, Shutdown stops it.
type Engine struct {
	o          Options // as New got them; of those that can change only current tells
	generation atomic.Pointer[generation]
	all        uint64 // the set of all backends

	server    *fasthttp.Server
	epoch     time.Time
	idBase    uint64
	uploads   *recent.Map[string, int]                // who issued the ids of multipart uploads
	pages     *recent.Map[string, int]                // and of pages of listings
	versions  *recent.Map[string, int]                // and of versions, by bucket and id
	pairs     *recent.Map[string, []task.BackendETag] // what versions are called elsewhere
	versioned *versionedBuckets
	parts     *partSizes
	writes    *overlaps
	ofBuckets bucketWrites
	adaptive  Adaptive                         // the Limiter, or nil
	dials     []dials                          // under way, by backend
	lanes     []lane.Lane                      // of large bodies, by backend (R10)
	latencies [][readClasses]latency.Histogram // of reads, by backend
	hedges    latency.Budget
	slow      slowRequests
	checks    readChecks

	ignoring atomic.Uint64 // backends that ignore conditions (R29)
	failing  atomic.Uint64 // backends that have failed at the last write that ended there (R10)

	stopping atomic.Bool // each answer from now on is its connection's last
	closing  atomic.Bool // no new requests, also on connections that are open
	requests sync.Pool

	// What every request changes has a cache line of its own, so that what is above stays in every
	// processor's cache.
	_        [64]byte
	nextID   atomic.Uint64
	inFlight atomic.Int64 // requests whose handler or legs are not done
	handling atomic.Int64 // requests whose handler is not done (R23)
	ending   atomic.Int64 // of them, those that make room for others (client_silent.go)
	deleting atomic.Int64 // what multi-object deletes take, as deletes_list.go counts (R23)

	mu       sync.Mutex
	active   *request // the first of the requests under way
	_        [64]byte
	listener *listener     // from when it serves
	stopped  bool          // Shutdown was called
	idle     chan struct{} // closed when none is in flight; nil if nobody waits for that
}

// New makes an engine; nothing is started yet. Its errors name the wrong option.
func New(o Options) (*Engine, error) {
	if n := len(o.Backends); n == 0 || n > MaxBackends {
		return nil, fmt.Errorf("cannot make an engine for %d backends: 1 to %d are possible", n, MaxBackends)
	}
	g, err := newGeneration(o)
	if err != nil {
		return nil, err
	}
	e := &Engine{
		o:         g.Options,
		all:       1<<len(o.Backends) - 1,
		epoch:     time.Now(),
		idBase:    rand.Uint64() &^ 0xffffffff,
		uploads:   recent.New[string, int](maxUploads),
		pages:     recent.New[string, int](maxPages),
		versions:  recent.New[string, int](maxVersions),
		pairs:     recent.New[string, []task.BackendETag](maxPairs),
		versioned: newVersionedBuckets(),
		parts:     newPartSizes(maxPartSizes),
		writes:    newOverlaps(),
		dials:     make([]dials, len(o.Backends)),
		lanes:     make([]lane.Lane, len(o.Backends)),
		latencies: make([][readClasses]latency.Histogram, len(o.Backends)),
	}
	e.adaptive, _ = o.Limiter.(Adaptive)
	e.o.firstTimeout = cmp.Or(o.firstTimeout, firstTimeout)
	e.o.continueWait = cmp.Or(o.continueWait, continueWait)
	e.o.headGrace = cmp.Or(o.headGrace, headGrace)
	e.o.silentGrace = cmp.Or(o.silentGrace, silentGrace)
	e.o.paceTime = cmp.Or(o.paceTime, paceTime)
	e.o.drainGrace = cmp.Or(o.drainGrace, drainGrace)
	e.o.answerPulse = cmp.Or(o.answerPulse, answerPulse)
	e.o.briefWait = cmp.Or(o.briefWait, briefWait)
	if len(o.Backends) == MaxBackends {
		e.all = ^uint64(0)
	}
	g.Options = e.o
	e.generation.Store(g)
	e.requests.New = func() any { return newRequest(e) }
	e.server = &fasthttp.Server{
		Handler:                      e.handle,
		ExpectHandler:                e.expect,
		ErrorHandler:                 e.refuse,
		HeaderReceived:               e.headerReceived,
		Name:                         "",
		NoDefaultServerHeader:        true,
		NoDefaultDate:                true,
		NoDefaultContentType:         true,
		StreamRequestBody:            true,
		MaxRequestBodySize:           1, // what is read before the handler runs, in this mode
		DisablePreParseMultipartForm: true,
		ReadBufferSize:               o.MaxHeaderSize,
		WriteBufferSize:              writeBufferSize,
		Concurrency:                  math.MaxInt32, // the listener's bound comes first, and can change
		LazyRequestTime:              true,
		// An idle connection keeps no buffer for answers, which saves 9 MB for 2,000 of them. (A
		// streaming server keeps the buffer for requests all the same.) It also makes the server
		// flush after each response, in one write, which clientConn.dropNext relies on.
		ReduceMemoryUsage: true,
		CloseOnShutdown:   true,
		Logger:            serverLog{o.Log},
		// Errors quote what could not be parsed, which only refuse may see; see serverLog.
		SecureErrorLogMessage: false,
	}
	return e, nil
}

// writeBufferSize is the size of a client connection's buffer for answers.
const writeBufferSize = 8 << 10

// Serve accepts clients on ln until Shutdown, and then returns nil.
func (e *Engine) Serve(ln net.Listener) error {
	bounded := newListener(ln, e)
	defer bounded.refusals.Wait()
	if !e.startListening(bounded) {
		return nil
	}
	ln = bounded
	if e.o.TLS != nil {
		ln = tlsListener{ln, e.o.TLS}
	}
	err := e.server.Serve(ln)
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("cannot serve on %s: %w", ln.Addr(), err)
	}
	return nil
}

// InFlight is the number of requests whose handler or legs are not done.
func (e *Engine) InFlight() int { return int(e.inFlight.Load()) }

// Now is the time in nanoseconds on the clock that the limiter uses.
func (e *Engine) Now() int64 { return e.now() }

// now is the time in nanoseconds on the clock that the limiter uses.
func (e *Engine) now() int64 { return int64(time.Since(e.epoch)) }

// serverLog passes on what the HTTP server has to say. Errors that end a client's connection are
// passed on only if a backend or the proxy is to blame: malformed requests and clients that have
// gone are no reason for a warning.
type serverLog struct{ log Log }

func (l serverLog) Printf(format string, args ...any) {
	if strings.HasPrefix(format, "error when serving connection") {
		err, _ := args[len(args)-1].(error)
		var panicked *fasthttp.ErrBodyStreamWritePanic
		if !errors.Is(err, errAnswerCut) && !errors.As(err, &panicked) {
			return
		}
	}
	l.log.Warn("http server", "message", withoutHead(fmt.Errorf(format, args...)))
}
