package repair

import (
	"slices"
	"sync"
	"time"
)

// pace is how long a backend takes for answers without content. Looks are such answers, and each
// key needs some.
type pace struct {
	mu    sync.Mutex
	last  [32]time.Duration // a ring
	n     int               // answers so far
	floor time.Duration
}

func (p *pace) note(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last[p.n%len(p.last)] = d
	p.n++
}

// since returns what a quarter of the answers after the n-th took at most, as far as they are
// kept, and what an answer takes when nothing waits; false if there are too few.
func (p *pace) since(n int) (answer, floor time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n-n < leastAnswers {
		return 0, 0, false
	}
	answer = p.quarterLocked(n)
	if p.floor == 0 {
		p.floor = answer
	}
	p.floor -= max(p.floor-answer, 0) / 4
	return answer, p.floor, true
}

func (p *pace) quarterLocked(n int) time.Duration {
	var some []time.Duration
	for i := max(n, p.n-len(p.last)); i < p.n; i++ {
		some = append(some, p.last[i%len(p.last)])
	}
	slices.Sort(some)
	return some[len(some)/4]
}

func (p *pace) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}

// lengthen records that answers take longer even when nothing waits.
func (p *pace) lengthen(answer time.Duration) (floor time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.floor += max(answer-p.floor, 0) * 3 / 4
	return p.floor
}

// usual is about how long an answer takes, or 0 if too few have come to tell.
func (p *pace) usual() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n < leastAnswers {
		return 0
	}
	return p.quarterLocked(0)
}
