package engine

import (
	"errors"
	"io"

	"github.com/akubra/akubra/engine/pipes"
	"github.com/akubra/akubra/engine/ring"
)

// minSpliced is how much of a body has to be left for pipes to be worth their
// system calls where not all of it is there (bench/NOTES.md).
const minSpliced = 256 << 10

// noBytes is what a read is given that moves its bytes to a pipe: only its length
// counts. All requests share it, and nothing is ever written to it: it may be given only
// after a read that was spliced, when nothing is left in the server's buffer.
var noBytes = make([]byte, pipes.Batch)

var errNotSpliced = errors.New("bytes were in the server's buffer that should not have been")

// readOrSplice reads some of the body to p, or moves it to the intake of the request's
// pipes, if it may be spliced and nothing of it waits in the server's buffer; spliced
// tells which.
func (r *request) readOrSplice(body io.Reader, p []byte, splice bool) (n int, spliced bool, err error) {
	// Less than the server's buffer would be read by way of it.
	if !splice || len(p) < r.e.o.MaxHeaderSize {
		n, err = body.Read(p)
		return n, false, err
	}
	return r.client.splice(body, p, r.message.pipes.Intake())
}

// minHeld is how much goes out at once for its end to be held back until a packet is full:
// a full one goes out before it for sure, whose acknowledgement lets it go if nothing
// follows for a while. A TCP packet holds less than 64 KiB (RFC 791 §3.1).
const minHeld = 64 << 10

// goesOn reports whether a piece of n bytes of a body with a length, all that have come, may
// end in the middle of a packet.
func (r *request) goesOn(n int) bool {
	return n >= minHeld && r.message.bodySize() < r.head.contentLength
}

// takePipes takes pipes for the request, if it can use them and there are any. It is
// true where the request has pipes.
func (r *request) takePipes() bool {
	if r.message.pipes != nil {
		return true
	}
	if r.message.place != inRing || !r.client.isThere() {
		return false
	}
	r.message.place = inRingOnly // asked once
	for i := range r.legs {
		if !r.e.o.Backends[r.legs[i].backend].Plain() {
			return false
		}
	}
	set, err := pipes.Get(len(r.legs))
	if err != nil {
		return false
	}
	r.message.pipes, r.message.place = set, inRing
	return true
}

// dropPipes gives pipes back that failed before any leg has used them: there may be
// something in them.
func (r *request) dropPipes() {
	r.message.pipes.Put()
	r.message.pipes, r.message.place = nil, inRingOnly
}

// spliceBody moves the rest of a body with a length through pipes: n bytes that are in
// the intake, then what is left. What has come is copied on once every leg has sent what
// its pipe held. From now on a stale connection cannot be replaced (R12).
func (r *request) spliceBody(body io.Reader, n int, left int64) error {
	if !r.launched {
		r.launch()
	}
	r.message.place = passing
	for {
		if err := r.copyOn(n); err != nil {
			return err
		}
		if left == 0 {
			return nil
		}
		var err error
		n, err = r.spliceStep(body, left)
		r.message.came.Add(int64(n))
		left -= int64(n)
		if err != nil {
			return err
		}
		if err := r.message.Drain(); err != nil { // when all pipes are empty
			return err
		}
	}
}

// copyOn hands the n bytes in the intake to the legs.
func (r *request) copyOn(n int) error {
	if n == 0 {
		return nil
	}
	readers := r.message.Attached()
	if readers == 0 {
		return ring.ErrNoReaders
	}
	if err := r.message.pipes.Copy(readers, n); err != nil {
		return r.pipesFailed(err)
	}
	r.message.PublishOutside(int64(n))
	for i := range r.legs {
		r.legs[i].push()
	}
	return nil
}

// spliceStep brings what has come from the client into the intake.
func (r *request) spliceStep(body io.Reader, left int64) (n int, err error) {
	p := noBytes[:min(left, pipes.Batch)]
	own := len(p) < r.e.o.MaxHeaderSize
	if own { // it is going to be read
		rest := copyBuffers.Get().(*[]byte) //nolint:forcetypeassert // the pool holds nothing else
		defer copyBuffers.Put(rest)
		p = (*rest)[:min(left, int64(len(*rest)))]
	}
	n, spliced, err := r.readOrSplice(body, p, true)
	switch {
	case spliced || n == 0:
	case !own: // some other request's bytes may be among them by now
		return 0, r.pipesFailed(errNotSpliced)
	default:
		if werr := r.message.pipes.Write(p[:n]); werr != nil {
			return 0, r.pipesFailed(werr)
		}
	}
	if int64(n) == left {
		err = nil
	}
	return n, err
}

func (r *request) pipesFailed(err error) error {
	r.e.o.Log.Warn("cannot copy a body through pipes", "error", err.Error(), "id", r.head.name())
	return errInternal
}
