package repair

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/akubra/akubra/synclog/repair/client"
)

// partsAtOnce is how many parts of one object are sent at once at most. Each but the first takes a
// place at the target's gate while it is sent, if there is one, so that few large objects fill a
// long path as well as many small ones do. While keys wait there, parts take at most half of the
// places, because a large object may take hours.
const partsAtOnce = 8

// sendParts copies all parts to an upload. Clients may leave out numbers: the parts are sent as if
// none was missing until one is, and one after another from there on.
func (c *transfer) sendParts(ctx context.Context, l layout, id string) ([]sentPart, error) {
	all := make([]sentPart, l.count)
	missing, err := c.sendBeside(ctx, l, id, all)
	if err != nil {
		return nil, err
	}
	for n, number := missing, missing; n <= l.count; number++ {
		part, err := c.part(ctx, l, id, n, number)
		if isGap(l, err) && number < maxParts && number-n < maxGap {
			continue
		}
		if err != nil {
			return nil, err
		}
		all[n-1] = part
		n++
	}
	return all, nil
}

// isGap reports whether the source has no part with that number.
func isGap(l layout, err error) bool {
	return l.byNumber && client.Status(err) == http.StatusRequestedRangeNotSatisfiable
}

// sendBeside sends parts concurrently, the n-th being that with the number n, until one is
// missing; missing is the first such n, or one more than there are.
func (c *transfer) sendBeside(ctx context.Context, l layout, id string, all []sentPart) (missing int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		mu   sync.Mutex
		next = 1
		busy sync.WaitGroup
	)
	missing = l.count + 1
	take := func() (n int, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		n, ok = next, err == nil && next < missing
		next++
		return n, ok
	}
	send := func(n int) {
		part, partErr := c.part(ctx, l, id, n, n)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case isGap(l, partErr):
			missing = min(missing, n)
		case partErr != nil && err == nil:
			err = partErr // the first is the cause of the others
			cancel()
		}
		all[n-1] = part
	}
	var helpers atomic.Int64
	for n, ok := take(); ok; n, ok = take() {
		for range min(partsAtOnce-1, l.count-n) - int(helpers.Load()) {
			if !c.dst.gate.enterPart(c.pressed()) {
				break
			}
			helpers.Add(1)
			busy.Go(func() {
				defer helpers.Add(-1)
				for !c.pressed() {
					n, ok := take()
					if !ok {
						break
					}
					send(n)
					if c.dst.gate.yieldPart() {
						c.r.tellFreed()
						return
					}
				}
				c.dst.gate.leavePart()
				c.r.adapt(c.r.index[c.dst.name])
				c.r.tellFreed()
			})
		}
		send(n)
	}
	busy.Wait()
	return missing, err
}

// pressed reports whether clients need all the room at either end.
func (c *transfer) pressed() bool {
	return c.r.o.Pressed != nil && (c.r.o.Pressed(c.dst.name) || c.r.o.Pressed(c.src.name))
}

// enterPart takes a place for a part, if there is one.
func (g *gate) enterPart(pressed bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waits && g.parts >= g.limit/2 || !g.takeLocked(pressed, false) {
		return false
	}
	g.parts++
	return true
}

// leavePart gives a part's place back.
func (g *gate) leavePart() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.parts--
	g.busy--
}

// yieldPart is leavePart if a key is waiting for the place.
func (g *gate) yieldPart() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.waits || g.parts <= g.limit/2 {
		return false
	}
	g.parts--
	g.busy--
	return true
}
