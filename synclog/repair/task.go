package repair

import "github.com/akubra/akubra/synclog/task"

// Journal is where tasks come from: the local journal, or the one of a running
// proxy, over its admin listener. Any goroutine may call it.
type Journal interface {
	// Next gives the first task in age order behind the cursor, 0 being the
	// start, and the cursor behind it. ok is false at the end. Tasks with legs
	// still under way are left out. Cursors ascend, and Next(next-1) gives the same
	// task again, as it is then.
	Next(cursor uint64) (t task.Task, next uint64, ok bool, err error)
	// Resolve closes the task, unless there was a newer write since it was read:
	// then it says false.
	Resolve(t *task.Task) (bool, error)
	// Note keeps Tries, NotBefore, Parked and LastError.
	Note(t *task.Task) error
	// Add adds a difference that was found, not journaled: its one write is of the
	// aspect Found.
	Add(t *task.Task) error
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
