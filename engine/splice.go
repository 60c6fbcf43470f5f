package engine

import (
	"io"

	"github.com/akubra/akubra/engine/pipes"
	"github.com/akubra/akubra/engine/ring"
)

// minSpliced is how much of a body has to be left for pipes to be worth their
// system calls (bench/NOTES.md).
const minSpliced = 256 << 10

// firstRead is how much of a body that may be spliced is read into the ring at
// once: a read right from the connection shows that the server's buffer is empty.
const firstRead = 32 << 10

// noBytes is what a read is given that moves its bytes to a pipe: only its
// length counts, nothing is ever written to it.
var noBytes = make([]byte, pipes.Batch)

// canSplice tells whether the rest of the body can go through pipes, and takes
// them if so. last is what was read into the ring last: if the connection read
// right into it, the server's buffer holds nothing that would have to go first.
//
// Until then the ring has the message's first byte, so that stale connections
// can be replaced (R12).
func (r *request) canSplice(last []byte) bool {
	return len(last) > 0 && r.client != nil && r.client.lastInto == &last[0] && r.takePipes()
}

// takePipes takes pipes for the request, if it can use them and there are any.
func (r *request) takePipes() bool {
	if r.noSplice || r.client == nil {
		return false
	}
	r.noSplice = true // asked once
	for i := range r.legs {
		if !r.e.o.Backends[r.legs[i].backend].Plain() {
			return false
		}
	}
	set, err := pipes.Get(len(r.legs))
	if err != nil {
		return false
	}
	r.pipes = set
	return true
}

// spliceBody moves the rest of a body with a length through pipes. A step takes
// what has come from the client, and copies it on once every leg has sent what
// its pipe held.
func (r *request) spliceBody(body io.Reader, left int64) error {
	for first := true; left > 0; first = false {
		n, err := r.spliceStep(body, left)
		r.bodySize.Add(int64(n))
		left -= int64(n)
		if err != nil {
			return err
		}
		if !first { // when all pipes are empty
			if err := r.ring.Drain(); err != nil {
				return err
			}
		}
		readers := r.ring.Attached()
		if readers == 0 {
			return ring.ErrNoReaders
		}
		if err := r.pipes.Copy(readers, n); err != nil {
			return r.pipesFailed(err)
		}
		r.ring.PublishOutside(int64(n))
	}
	return nil
}

// spliceStep brings what has come from the client into the intake.
func (r *request) spliceStep(body io.Reader, left int64) (n int, err error) {
	if left >= int64(r.e.o.MaxHeaderSize) {
		r.client.spliceTo = r.pipes.Intake()
		n, err = body.Read(noBytes[:min(left, pipes.Batch)])
		r.client.spliceTo = 0
	} else {
		// So little goes through the server's buffer.
		rest := copyBuffers.Get().(*[]byte) //nolint:forcetypeassert // the pool holds nothing else
		defer copyBuffers.Put(rest)
		n, err = body.Read((*rest)[:min(left, int64(len(*rest)))])
		if werr := r.pipes.Write((*rest)[:n]); werr != nil {
			return 0, r.pipesFailed(werr)
		}
	}
	if int64(n) == left {
		err = nil
	}
	return n, err
}

func (r *request) pipesFailed(err error) error {
	r.e.o.Log.Warn("cannot copy a body through pipes", "error", err.Error(), "id", r.id.String())
	return errInternal
}
