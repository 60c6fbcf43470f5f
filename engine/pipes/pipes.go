// Package pipes carries the body of a large upload from one socket to several
// without copying it through user space: splice(2) moves the client's bytes into
// an intake pipe, tee(2) duplicates them into a pipe a backend, and splice(2)
// moves them from there to each socket. The kernel passes references to pages
// on; no byte is touched. Linux only: elsewhere [Get] fails, and the caller
// goes on with memory.
//
// A pipe holds a number of page references, not of bytes, so that what came in
// can be duplicated for sure only into pipes that are empty. The writer
// therefore waits until every reader has emptied its pipe (ring.Drain), then
// copies the whole intake on.
//
// A short body is gathered in the intake as a whole and stays there when it has been
// duplicated, so that a reader's pipe can be filled with it once more.
//
// Ownership: a Set belongs to one upload, from Get to Put. The writer's goroutine
// fills and copies, reader i's goroutine empties pipe i, or the writer's while that one
// does not. Put is called when all of them have stopped.
package pipes

import "errors"

// ErrUnsupported: this system has no splice and tee.
var ErrUnsupported = errors.New("pipes: not supported by this system")

// ErrBusy: there are enough pipes in use already.
var ErrBusy = errors.New("pipes: too many in use")

// Batch is the most that one step can move, in bytes, and the size that is asked
// for each pipe.
const Batch = 512 << 10
