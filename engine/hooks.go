package engine

import (
	"bufio"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// MaxBackends is the most backends one engine can copy to: a set of backends
// is a 64-bit mask, bit i standing for the backend at index i.
const MaxBackends = 64

// Backend is one storage as the engine needs it: a name and a pool of
// connections. All methods may be called from any goroutine.
type Backend interface {
	// Name is the host and port of the backend's URL, as it stands in logs and
	// records.
	Name() string
	// Plain reports whether its connections are TCP without TLS.
	Plain() bool
	// Acquire takes an idle connection that is Alive, or a new one that is not
	// connected yet; it never waits. With fresh set it is always a new one (R12).
	// Errors carry the backend's name.
	Acquire(fresh bool) (Conn, error)
}

// Conn is a connection to a backend. One goroutine may write while another
// reads; Abort may be called from any goroutine at any time before Release, Discard
// or Reset. Exactly one of these three ends the use of it.
type Conn interface {
	// Connect dials, within the backend's dial timeout (R11), and shakes hands
	// where it is TLS; a connected connection stays as it is. It fails where the
	// peer has spoken, or ended the connection, already (R32).
	Connect() error
	// Reused reports whether a request was sent on this connection before.
	Reused() bool
	// Alive reports whether a request can be sent, as far as can be seen from here:
	// the peer has neither closed the connection nor sent anything that was not read
	// (R32). Nobody may read or send meanwhile.
	Alive() bool
	// Await makes f run as soon as there is something to read, or reading fails or times
	// out; f must not wait for anything, but returns what may have to, or nil, which a
	// goroutine of its own runs. It is false where it does not; f is left to the
	// caller then. After a true, what f begins alone may read, release or discard.
	Await(f func() (next func())) bool
	// ReadFirst reads once past the Reader, before that is asked for; without wait,
	// 0 and no error is that nothing is there. What was read,
	// and the error, can be given back by Unread: Reader gives them first then. p must
	// stay as it is until it has given the first byte.
	ReadFirst(p []byte, wait bool) (int, error)
	Unread(p []byte, err error)
	// Reader buffers what the backend sends. It gives errors as the network
	// does, io.EOF among them.
	Reader() *bufio.Reader
	// ReadTimeout makes reading fail with a timeout once d is over from now, or up
	// to an eighth of it later; 0 is never.
	ReadTimeout(d time.Duration)
	// Send sends some of p, or waits until it can: at least a byte, unless there is
	// an error. It is a timeout when the peer has taken nothing for patience, of
	// what was sent before neither (R11). Over TLS p is one record, sent whole.
	Send(p []byte, patience time.Duration) (int, error)
	// TryWrite sends as much of p as can be taken at once without waiting.
	// n < len(p) with a nil error means that the rest has to wait.
	TryWrite(p []byte) (n int, err error)
	// SplicePipe sends some of the n bytes that are in a pipe, as Send does; with a
	// patience of 0 it does not wait, as TryWrite. With more, what does not fill a
	// packet may wait for what is sent next, as long as the peer has something to
	// acknowledge. Only for plain connections, and where pipes can be had.
	SplicePipe(pipe, n int, more bool, patience time.Duration) (int, error)
	// Unsent is the number of bytes taken by Send and the like that the peer has
	// not acknowledged yet, or -1 where the system does not tell. Any goroutine may call it, as Acknowledged.
	Unsent() int
	// Acknowledged returns how many bytes the peer has acknowledged since the connection began, whether
	// it has more to acknowledge, and whether these were sent again in vain. Both are false if the
	// system does not tell. Any goroutine may call it until one of the last three is called.
	Acknowledged() (bytes uint64, more, again bool)
	// Abort makes connecting, reading and sending under way, and each later one, fail
	// at once. The connection can only be reset or discarded then.
	Abort()
	// AbortWrite does so for sending alone.
	AbortWrite()
	// Skip throws the next n bytes away that the backend sends.
	Skip(n int64) error
	// Release gives the connection back for reuse; the caller has read the
	// answer to its end.
	Release()
	// Guard has the system reset the connection if this process dies, or takes that
	// back (R31). Whoever writes calls it, before a message that may take more than one
	// write.
	Guard(on bool)
	// Discard closes it in the ordinary way. Reset closes it so that the backend sees a
	// reset: what has gone out of a message cannot be taken for all of it (R31).
	Discard()
	Reset()
}

// Limiter counts busy connections and decides which backends are in the pool
// (R13, R14). Sets of backends are bit masks. Times are nanoseconds of one
// monotonic clock, the caller's. All methods may be called from any goroutine.
type Limiter interface {
	// State is "active", "demoted" or "maintained".
	State(backend int) string
	// TryBegin takes one busy slot at every backend of want that is in the
	// pool, and stores its number in slots[i]. ok is false, and nothing taken,
	// where the limit is reached and no backend could be demoted.
	TryBegin(now int64, want uint64, slots *[MaxBackends]int32) (got uint64, ok bool)
	// Changed returns a channel that is closed at the next event that may let
	// TryBegin succeed: a slot given back, a demotion, a return. Connections
	// become stalled by time alone, which closes nothing.
	Changed() <-chan struct{}
	// Progress notes that the connection in slot moved bytes at now. A now in
	// the future stands for "not waiting for the backend until then".
	Progress(backend int, slot int32, now int64)
	// Answered notes that the client of the request has its answer.
	Answered(backend int, slot int32, now int64)
	// End gives the slot back, once. An Answered that comes too late is ignored.
	End(backend int, slot int32)
	// Succeeded and Failed count consecutive failures (FailureLimit).
	Succeeded(backend int)
	Failed(backend int, now int64)
}

// Adaptive is a Limiter that has a limit of its own for each backend, which follows how long
// legs go on after their clients were answered (R13). A Limiter need not be one.
type Adaptive interface {
	// AnsweredAt is when the client was answered, and false before. Not after End.
	AnsweredAt(backend int, slot int32) (at int64, ok bool)
	// Lagged notes that a leg ended well so long after that.
	Lagged(backend int, now, lag int64)
	// Cut notes that a leg was cut that had held its client back, or could not connect, since then.
	Cut(backend int, since int64)
	// Crowded is the set of backends in the pool, of want, where a leg would only wait: they
	// are busy up to their limits, and another one is not.
	Crowded(now int64, want uint64) uint64
}

// Health hears how the backends do, leg by leg, so that an operator can be told (R36). What
// ends with a client, or here, is no news of a backend. All methods may be called from any
// goroutine, and must not wait; Well is called for nearly every leg.
type Health interface {
	// Well: an answer that is no error of the backend's; a write was taken.
	Well(backend int, write bool)
	// Answered: one that may be: a refusal of a write, or of keys, or for the load, a status from
	// 500 on, or an error in a 200; code is S3's, "" where it is not known.
	Answered(backend int, write bool, status int, code string)
	// Failed: no answer. text is err in the words of the synclog.
	Failed(backend int, write bool, err error, text string)
	// Lagged: it was cut from the request (R10).
	Lagged(backend int, write bool, text string)
}

// Synclog takes divergences. Record may be called from any goroutine, must not
// keep d after it returns, and returns only when the record is handed on.
type Synclog interface {
	Record(d *Divergence)
}

// Divergence is one difference between two backends, in the words of R16.
type Divergence struct {
	Time        time.Time
	Method      string
	Path        string // the raw request target
	FailedHost  string
	SuccessHost string
	UserAgent   string
	Error       string
	Op          string // OpStoring or OpReading
	Status      int    // of the failed backend; 0 where it gave none
	Bucket      string
	Key         string
	ETag        string
	Size        int64 // bytes of the object; of the request's body where that is not known (R16)
	ID          string
}

// Journal keeps what the backends owe, so that it survives the process (R20). All
// methods may be called from any goroutine.
type Journal interface {
	// Begin notes that a write is about to go to the backends, so that a process
	// that is killed leaves behind what it was about. key is decoded, and stays as it is
	// until End; method, host and target
	// are of the request; host and target serve writes that are about a bucket. An error means that
	// the write must not go on; ErrTooManyWrites is one that may come again, ErrKeyTooLong
	// one that the client is to blame for.
	Begin(method string, bucket, key, host, target []byte) (JournalWrite, error)
	// Stamp gives the next place in the order of writes: Unix time in
	// nanoseconds, unique and ascending, over restarts too. now is the time.
	Stamp(now time.Time) uint64
	// Owed is the set of backends that owe the key's content, or may: what is written
	// down of it, and acknowledged writes whose legs are out. Without a key: those that have not made,
	// or removed, the bucket. It reads no disk.
	Owed(bucket, key []byte) uint64
	// OwedIn adds to counts, by backend, how many keys of a bucket a backend owes in the same
	// sense; without a bucket how many buckets it owes. It reads no disk.
	OwedIn(bucket []byte, counts []int)
	// OwedApart is OwedIn that counts apart what is owed until repair has brought it, and acknowledged
	// writes that are under way: of these only what was acknowledged before the call that gave last,
	// or all if that is 0. A write that fails is owed once it is not under way any more, without a
	// moment between.
	OwedApart(bucket []byte, last uint64, owed, underWay []int) (now uint64)
	// Took says that further backends have taken an acknowledged write whose other legs are out, by
	// the Seq of its entry: these do not owe it for Owed and OwedIn. It only changes memory.
	Took(seq, backends uint64)
	// Refuses reports whether writes must be refused, because nothing about them
	// could be written down.
	Refuses() bool
	// Quiet reports whether nothing is owed, nor may be: of a write that owes nothing
	// the journal need not hear then.
	Quiet() bool
}

// JournalWrite is a write that Begin has noted. One goroutine at a time may use it, and
// nobody after End.
type JournalWrite interface {
	// Add is Begin for a further key that the request deletes (R24). target, unless nil, says
	// which version of it.
	Add(bucket, key, target []byte) error
	// Waits reports whether Acknowledge waits for a disk.
	Waits() bool
	// Leave says what a killed process leaves behind of a write with a decider (R29) before Acknowledge
	// or Settle. If p is Unacknowledged, only the backends of p.Owed may have the write; otherwise it
	// is to be as p says. It waits for nothing, is for the next process alone, and keeps nothing of p.
	Leave(p *Promise)
	// Acknowledge makes durable what the backends may owe of a write whose legs are out,
	// before the client is told of it: an entry for each key, which are Open. It keeps
	// nothing of them, but may replace their targets. An error means that the write must
	// not be acknowledged.
	Acknowledge(ps []Promise) error
	// Settle tells how it has ended, once all legs have. After Acknowledge it never fails,
	// and waits for a disk at most where something is owed; the entries have the Seq that
	// they had. Without, an error means that the write must not be acknowledged. One that
	// owes nothing only replaces what is known of its key.
	Settle(ps []Promise) error
	// Beside follows a Settle where other writes to the keys overlapped with this one, ended
	// well before it, and may not be known: where their key is pending they are kept as what
	// may have landed last. Behind them come the entries of Settle for these keys, as OverlapKnown.
	// It waits for a disk at most to read, and keeps nothing of them.
	Beside(ps []Promise)
	// End notes that nothing of it is under way any more.
	End()
}

// What Begin and Add may say of a write.
var (
	ErrTooManyWrites = task.ErrTooManyWrites
	ErrKeyTooLong    = task.ErrKeyTooLong
)

// Promise is what the journal has to know of a write: Owed are the backends that may not
// have it, and Open says that legs are out, so that a Settle will come.
type Promise = task.Entry

// What a divergence was found by.
const (
	OpStoring = "storing"
	OpReading = "reading"
)

// Access is one finished client request, for the access log.
type Access struct {
	Time      time.Time // when the head of the request was complete
	ID        string
	Remote    string
	Method    string
	Path      string
	Host      string
	UserAgent string
	Status    int
	BytesIn   int64
	BytesOut  int64
	Duration  time.Duration // until the answer's head was chosen
	Backend   string        // whose answer it was; empty where the proxy answered itself
}

// Log takes the engine's own words. Implementations must be safe for use from
// any goroutine.
type Log interface {
	// Warn reports something that the operator may want to act on.
	Warn(msg string, keyvals ...any)
	// AccessEnabled reports whether Access wants to be called at all. It is asked once, by New
	// and by each Reconfigure, for the requests that begin from then on.
	AccessEnabled() bool
	Access(a *Access)
}

// Metrics counts. All methods may be called from any goroutine and must be cheap.
type Metrics interface {
	RequestBegun()
	// RequestEnded: the handler is done with the client's request.
	RequestEnded(method string, status int, bytesIn int64, firstAnswer time.Duration)
	// LegEnded: a leg has ended.
	LegEnded(backend int, l LegEnd)
	// LegSkipped: a backend was left out of a request that it should have had, with the reason.
	LegSkipped(backend int, class Class, r Result)
	// LegsEnded: the last leg of a request has ended, this long after its start.
	LegsEnded(lastLeg time.Duration)
	// RingWaited: the writer of a ring waited for room, this long in all.
	RingWaited(d time.Duration)
	Diverged(backend int, op, reason string)
	// Refused: the client gets an error of the proxy's own; reason is one of Refusals.
	Refused(reason string)
	// Read counts what is done about a read, by one of the Read… words (R30).
	Read(event string)
}

// How a leg can end, as metrics label it.
const (
	OutcomePositive = "positive" // R3
	OutcomeNegative = "negative" // an answer that is not positive
	OutcomeFailed   = "failed"   // no answer
	OutcomeStalled  = "stalled"  // cut from the ring (R10)
	OutcomeDeferred = "deferred" // not begun, since it could not be without holding anybody back (R10, R13, R19)
	OutcomeAborted  = "aborted"  // the client went away (R6), or nobody needs the answer any more
)
