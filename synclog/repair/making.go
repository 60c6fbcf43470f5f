package repair

import (
	"context"
	"sync"
)

// making are the buckets that are being made on one backend. A backend shows a bucket before it has its
// versioning and its object lock, and what is written to it then is without them.
type making struct {
	mu  sync.Mutex
	now map[string]chan struct{} // by bucket; closed when it is made, or could not be
}

// begin returns end, which the caller has to call when it has made the bucket; or nil, once somebody
// else has made it, or has failed to.
func (m *making) begin(ctx context.Context, bucket string) (end func(), err error) {
	m.mu.Lock()
	if m.now[bucket] != nil {
		m.mu.Unlock()
		return nil, m.wait(ctx, bucket)
	}
	defer m.mu.Unlock()
	if m.now == nil {
		m.now = map[string]chan struct{}{}
	}
	done := make(chan struct{})
	m.now[bucket] = done
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.now, bucket)
		close(done)
	}, nil
}

// wait waits until nobody is making the bucket.
func (m *making) wait(ctx context.Context, bucket string) error {
	m.mu.Lock()
	done := m.now[bucket]
	m.mu.Unlock()
	if done == nil {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
