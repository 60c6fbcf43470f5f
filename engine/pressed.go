package engine

import "time"

// pressedFor is how long a backend counts as pressed after the last sign of it.
const pressedFor = int64(time.Second)

// Pressed reports whether clients need all the capacity of a backend, so that work that can wait,
// such as repair's, should stand back: writes have just been deferred there, or it has held
// clients back (R10). Any goroutine may call it.
func (e *Engine) Pressed(backend int) bool {
	now, l := e.now(), &e.lanes[backend]
	at := l.deferredAt.Load()
	return at != 0 && now-at < pressedFor || l.heldLately(now)
}

// heldLately reports whether the backend has recently held a client back.
func (l *lane) heldLately(now int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ever && now-l.heldAt < pressedFor
}
