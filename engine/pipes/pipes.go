// Package pipes carries the body of a large upload from one socket to several without copying it
// through user space: splice(2) moves the client's bytes into an intake pipe, tee(2) duplicates
// them into one pipe per backend, and splice(2) moves them from there to each socket. The kernel
// passes on references to pages; no byte is touched. This is for Linux only: elsewhere [Get] fails
// and the caller falls back to memory.
//
// A pipe holds a number of page references, not of bytes, so the intake's content is sure to fit
// only into empty pipes. The writer therefore waits until every reader has emptied its pipe
// (ring.Drain) and then passes the whole intake on.
//
// A short body is gathered whole in the intake and stays there after it has been duplicated, so
// that a reader's pipe can be filled again.
//
// Ownership: a Set belongs to one upload, from Get to Put. The writer's goroutine fills the intake
// and copies. Pipe i is emptied by reader i's goroutine, or by the writer's while that one does
// not. Put is called after all of them have stopped.
package pipes

import "errors"

// ErrBusy means that enough pipes are in use already.
var ErrBusy = errors.New("pipes: too many in use")

// Batch is the most that one step can move, and the size requested for each pipe, in bytes.
const Batch = 512 << 10
