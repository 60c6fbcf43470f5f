package repair

import "time"

// Task is one key that may differ between backends: what is pending in the
// journal about it, all its writes compacted into one. Strings are raw bytes,
// UTF-8 or not.
type Task struct {
	Seq, First uint64 // of the newest and of the oldest write: Unix nanoseconds of when an acknowledged write began
	// Settled is when the last leg of the key's writes ended, Unix nanoseconds.
	// What a backend holds may be as young as that without being newer than the
	// newest write, since a slow leg ends late. 0 where it is not known.
	Settled uint64
	// Method, Target, ETag, Size, … are of the newest write. Method "" means that
	// the write is not known: verify has found a difference.
	Method, Target, Host, Bucket, Key, ETag, ID, Reason string
	Size                                                int64
	Owed                                                []string // backends that may differ, by name
	SubResource                                         bool     // the newest write was about ?acl, ?tagging, …
	Unacknowledged                                      bool     // the newest write's outcome is unknown to the client too
	Doubt                                               bool     // a write that nobody was told of may have replaced the newest one
	Version                                             uint8    // the journal's own, of the state that was read
	Tries                                               int      // failures that were the key's own fault, not a backend's
	NotBefore                                           time.Time
	Parked                                              bool
	LastError                                           string

	place uint64 // the cursor that Next gives it for, whatever has come for it since
}

// Journal is where tasks come from: the local journal, or the one of a running
// proxy, over its admin listener. Any goroutine may call it.
type Journal interface {
	// Next gives the first task in age order behind the cursor, 0 being the
	// start, and the cursor behind it. ok is false at the end. Tasks with legs
	// still under way are left out. Cursors ascend, and Next(next-1) gives the same
	// task again, as it is then.
	Next(cursor uint64) (t Task, next uint64, ok bool, err error)
	// Resolve closes the task, unless there was a newer write since it was read:
	// then it says false.
	Resolve(t *Task) (bool, error)
	// Note keeps Tries, NotBefore, Parked and LastError. Owed may have become less:
	// a journal that cannot keep that costs a look at the backends.
	Note(t *Task) error
	// Add adds a difference that was found, not journaled: Bucket, Key, Owed and
	// Reason are set, Method is "".
	Add(t *Task) error
}

// Fence is the proxy's table of writes in flight; any goroutine may call it. It
// may be nil where no proxy runs. A write must leave the table only when the
// journal has its outcome.
type Fence interface {
	// Begin notes that the key is looked at. False: a client is writing it now;
	// there is nothing to end then.
	Begin(bucket, key string) bool
	// End ends that. False: a client's write overlapped, so that what was seen
	// and done has to be looked at again.
	End(bucket, key string) (clean bool)
	// Seal keeps clients' writes to the key waiting, between Begin and End, while a
	// backend is changed: one that knows no conditional writes would take repair's
	// copy over theirs. False: a client's write has begun since Begin, so that
	// nothing may be changed now.
	Seal(bucket, key string) bool
	// Unseal ends that; so does End.
	Unseal(bucket, key string)
}

// Log takes what an operator should know; any goroutine may call it.
type Log interface {
	Info(msg string, keyvals ...any)
	Warn(msg string, keyvals ...any)
}

type silence struct{}

func (silence) Info(string, ...any) {}
func (silence) Warn(string, ...any) {}
