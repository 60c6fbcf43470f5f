package engine

import (
	"errors"
	"slices"
	"syscall"

	"github.com/akubra/akubra/engine/pipes"
)

// ownFailure is why a leg has failed if the proxy's own machine is to blame.
type ownFailure struct{ error }

func (f *ownFailure) Unwrap() error { return f.error }

// outOfFiles reports whether err means that this machine has run out of files, memory or ports.
func outOfFiles(err error) bool {
	scarce := []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL}
	return slices.ContainsFunc(scarce, func(errno error) bool { return errors.Is(err, errno) })
}

// relieve frees files that can be spared.
func (e *Engine) relieve() {
	pipes.Trim()
	l := e.door()
	if l != nil {
		l.evict()
	}
}

// noAnswer is what a client is told when no backend has answered, or too few have taken its write (R3); if
// none could even be asked, it is to come back later.
func (r *request) noAnswer() *s3Error {
	if len(r.legs) == 0 {
		return errNoBackend
	}
	if r.behindSays404() {
		r.wantKey()
		return errBehind
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.allEndedLocked() { // one beside a decider that has failed still writes its own fields
		return errNoBackend
	}
	if r.head.write && r.anyPositiveLocked() {
		return errTooFewAcks
	}
	for i := range r.legs {
		if _, ok := errors.AsType[*ownFailure](r.legs[i].err); !ok {
			return errNoBackend
		}
	}
	return errSlowDown
}
