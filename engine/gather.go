package engine

import (
	"io"
	"time"
)

// minGathered is the smallest body that is worth a pipe's system calls when nothing
// has to be waited for (bench/NOTES.md).
const minGathered = 40 << 10

// gatherTime is how long a message may take to arrive while its legs wait for it, each
// in a slot of the limiter, where the client never pauses for lazyWait.
const gatherTime = 20 * time.Millisecond

// gathers reports whether the message is to be gathered, and takes pipes for it if so:
// all of it, or the beginning if the body is of minSpliced or more. The ring has to have
// room for that, in case that it is needed after all.
func (r *request) gathers() bool {
	n := r.head.contentLength
	if n >= minSpliced {
		n = minGathered
	}
	return n >= minGathered && !r.launched && int64(r.head.length)+n <= int64(r.message.Size()) && r.takePipes()
}

// gather brings the message into the pipes' intake before its legs start, which then
// send it from there: as a whole, or what has come with the head if it is a large one.
// Where the client keeps it waiting, what has come is taken back, and the caller goes on
// with the ring. It returns how much of the body has come.
func (r *request) gather(body io.Reader) (came int64, err error) {
	room, err := r.message.Reserve()
	if err != nil {
		return 0, err
	}
	room = room[:min(int64(len(room)), r.head.contentLength)]
	large := r.head.contentLength >= minSpliced
	r.client.beforeSplice(r.fillIntakeFn)
	n := 0
	for n < len(room) && err == nil && !r.launched && r.message.pipes != nil && !(large && r.message.place == inIntake) {
		var more int
		more, err = r.gatherMore(body, room[n:])
		n += more
		if n < len(room) && !large && r.message.place == inIntake && r.head.age() > gatherTime {
			r.ungather()
			break
		}
	}
	r.client.beforeSplice(nil)
	switch {
	case err != nil && int64(n) < r.head.contentLength:
		return int64(n), err
	case r.message.place != inIntake:
	case large:
		return int64(n), r.sendGathered()
	case r.message.pipes.Duplicate(1<<len(r.legs)-1, r.message.gathering) != nil:
		r.ungather()
	default:
		r.message.gathered, r.message.gathering, r.message.place = r.message.gathering, 0, inPipes
		r.message.MoveOutside(int64(r.message.gathered), true)
	}
	return int64(n), nil
}

// gatherMore takes what comes next of the body: into the ring as long as it comes from
// the server's buffer, into the intake from the first byte on that need not be read. p is
// its place in the ring's memory.
func (r *request) gatherMore(body io.Reader, p []byte) (int, error) {
	n, spliced, err := r.readOrSplice(body, p, true)
	r.message.came.Add(int64(n))
	switch {
	case r.message.place != inIntake:
		r.message.Publish(n)
	case spliced || r.message.pipes.Write(p[:n]) == nil:
		r.message.gathering += n
	default:
		r.ungather()
		r.message.Publish(n)
		r.dropPipes()
	}
	return n, err
}

// fillIntake brings what is in the ring into the intake.
func (r *request) fillIntake() {
	message := r.message.Bytes()
	if r.message.pipes.Write(message) == nil {
		r.message.gathering, r.message.place = len(message), inIntake
		return
	}
	r.client.stopSplicing()
	r.dropPipes()
}

// sendGathered starts the legs with the beginning of a large message.
func (r *request) sendGathered() error {
	if err := r.message.pipes.Copy(1<<len(r.legs)-1, r.message.gathering); err != nil {
		return r.pipesFailed(err)
	}
	r.message.MoveOutside(int64(r.message.gathering), false)
	r.message.gathering, r.message.place = 0, passing
	r.launch()
	return nil
}

// ungather takes what was gathered back into the ring, before any leg has started.
func (r *request) ungather() {
	r.client.stopSplicing()
	published := r.message.Bytes()
	if err := r.message.pipes.ReadBack(published[:r.message.gathering]); err != nil {
		_ = r.pipesFailed(err)
		r.message.Cancel()
	}
	r.message.Publish(r.message.gathering - len(published))
	r.message.gathering, r.message.place = 0, inRing
}
