package repair

import "github.com/akubra/akubra/synclog/task"

// Journal is where tasks come from: the local journal, or that of a running proxy, through its
// admin listener. Any goroutine may call it.
type Journal interface {
	// Next returns the first task in order of age behind the cursor, 0 being the start, and the
	// cursor behind it. ok is false at the end. Tasks with legs that are still out are left out.
	// Cursors ascend, and Next(next-1) returns the same task again, as it is then.
	Next(cursor uint64) (t task.Task, next uint64, ok bool, err error)
	// Resolve closes the task, unless there was a newer write since it was read: then it returns
	// false.
	Resolve(t *task.Task) (bool, error)
	// Note stores Tries, NotBefore, Parked and LastError, unless there was a newer write since the task
	// was read, or it was closed: then it returns false.
	Note(t *task.Task) (bool, error)
	// Add adds a difference that was found rather than journaled: its one write has the aspect
	// Found.
	Add(t *task.Task) error
}

// Fence is the proxy's table of writes in flight; any goroutine may call it. It may be nil if no
// proxy runs. A write must leave the table only when the journal has its outcome.
type Fence interface {
	// Begin says that the key is being looked at. If it returns false, a client is writing the key
	// now, and there is nothing to end.
	Begin(bucket, key string) bool
	// End ends that. If it returns false, a client's write overlapped, so what was seen and done
	// must be looked at again.
	End(bucket, key string) (clean bool)
	// Seal keeps clients' writes to the key waiting, between Begin and End, while a backend is
	// changed: one that knows no conditional writes would put repair's copy over theirs. If it
	// returns false, a client's write has begun since Begin, so nothing may be changed now.
	Seal(bucket, key string) bool
	// Unseal ends that; so does End.
	Unseal(bucket, key string)
}

// Log receives what an operator should know; any goroutine may call it.
type Log interface {
	Info(msg string, keyvals ...any)
	Warn(msg string, keyvals ...any)
}

type silence struct{}

func (silence) Info(string, ...any) {}
func (silence) Warn(string, ...any) {}
