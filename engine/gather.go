package engine

import (
	"io"
	"time"
)

// minGathered is the smallest body that is worth a pipe's system calls when nothing
// has to be waited for (bench/NOTES.md).
const minGathered = 48 << 10

// gatherTime is how long a message may take to arrive while its legs wait for it, each
// in a slot of the limiter, where the client never pauses for lazyWait.
const gatherTime = 20 * time.Millisecond

// gathers tells whether the message is to be gathered, and takes pipes for it if so:
// all of it, or the beginning if the body is of minSpliced or more. The ring has to have
// room for that, in case that it is needed after all.
func (r *request) gathers() bool {
	n := r.head.contentLength
	if n >= minSpliced {
		n = minGathered
	}
	return n >= minGathered && !r.launched && int64(r.headLen)+n <= int64(r.ring.Size()) && r.takePipes()
}

// gather brings the message into the pipes' intake before its legs start, which then
// send it from there: as a whole, or what has come with the head if it is a large one.
// Where the client keeps it waiting, what has come is taken back, and the caller goes on
// with the ring. It returns how much of the body has come.
func (r *request) gather(body io.Reader) (came int64, err error) {
	room, err := r.ring.Reserve()
	if err != nil {
		return 0, err
	}
	room = room[:min(int64(len(room)), r.head.contentLength)]
	// First comes what the server has read along with the head.
	n, err := body.Read(room[:min(len(room), r.e.o.MaxHeaderSize)])
	r.ring.Publish(n)
	r.bodySize.Add(int64(n))
	if n == len(room) {
		return int64(n), nil
	}
	if err == nil && !r.launched && r.pipes.Write(r.ring.Bytes()) == nil {
		r.gathering = r.headLen + n
	}
	large, spliced := r.head.contentLength >= minSpliced, false
	for r.gathering > 0 && n < len(room) && err == nil && !(large && spliced) {
		var more int
		more, spliced, err = r.gatherMore(body, room[n:])
		n += more
		if r.gathering > 0 && n < len(room) && !large && time.Since(r.begun) > gatherTime {
			r.ungather()
		}
	}
	switch {
	case err != nil && int64(n) < r.head.contentLength:
		return int64(n), err
	case r.gathering == 0:
	case large:
		return int64(n), r.sendGathered()
	case r.pipes.Duplicate(1<<len(r.legs)-1, r.gathering) != nil:
		r.ungather()
	default:
		r.gathered, r.gathering = r.gathering, 0
		r.ring.MoveOutside(int64(r.gathered), true)
	}
	return int64(n), nil
}

// gatherMore moves what comes next into the intake. p is its place in the ring's memory:
// who reads instead of moving reads to there.
func (r *request) gatherMore(body io.Reader, p []byte) (n int, spliced bool, err error) {
	n, spliced, err = r.readOrSplice(body, p)
	r.bodySize.Add(int64(n))
	switch {
	case r.gathering == 0: // launched meanwhile
		r.ring.Publish(n)
	case spliced || r.pipes.Write(p[:n]) == nil:
		r.gathering += n
	default:
		r.ungather()
		r.ring.Publish(n)
	}
	return n, spliced, err
}

// sendGathered starts the legs with the beginning of a large message.
func (r *request) sendGathered() error {
	if err := r.pipes.Copy(1<<len(r.legs)-1, r.gathering); err != nil {
		return r.pipesFailed(err)
	}
	r.ring.MoveOutside(int64(r.gathering), false)
	r.gathering, r.piped = 0, true
	r.launch()
	return nil
}

// ungather takes what was gathered back into the ring, before any leg has started.
func (r *request) ungather() {
	r.client.spliceTo = 0
	published := r.ring.Bytes()
	if err := r.pipes.ReadBack(published[:r.gathering]); err != nil {
		_ = r.pipesFailed(err)
		r.ring.Cancel()
	}
	r.ring.Publish(r.gathering - len(published))
	r.gathering = 0
}
