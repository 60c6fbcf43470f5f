package engine

import "errors"

// errDemoted ends a leg whose backend has left the pool.
var errDemoted = errors.New("demoted: the backend left the pool while the request was under way")

// LetGo cuts the legs to a backend that has left the pool, so that it no longer holds up any
// client (R13): each leg that a client is waiting for beside others. With all set it cuts the
// other legs too, for a backend that cannot be reached at all. What is cut is reset (R31) and
// owed. Any goroutine may call it, and it does not wait. It may miss a request that is just
// beginning, so it should be called again.
func (e *Engine) LetGo(backend int, all bool) {
	for _, r := range e.list() {
		r.letGo(backend, all)
		r.release()
	}
}

func (r *request) letGo(backend int, all bool) {
	if l := r.heldBy(backend, all); l != nil {
		l.abort(errDemoted)
	}
	if !all {
		return
	}
	r.mu.Lock()
	spare := r.spare
	r.mu.Unlock() // leg.mu is not to be taken under it
	if spare != nil && spare.backend == backend {
		spare.abort(errDemoted)
	}
}

// heldBy is the leg to that backend, if it is to be cut.
func (r *request) heldBy(backend int, all bool) *leg {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.legs {
		if l := &r.legs[i]; l.backend == backend && !l.held && r.race.holdsLocked(i, all) {
			return l
		}
	}
	return nil
}
