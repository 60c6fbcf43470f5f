package engine

import (
	"sync/atomic"
	"testing"

	"github.com/akubra/akubra/limiter"
)

// R20: a write that all storages have before its answer is nothing to the journal, unless
// that knows of something which it may replace.
func TestR20NothingIsWrittenWhereNothingIsOwed(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		storages int
		setups   []setup
	}{
		"one storage": {1, nil},
		"all asked":   {2, []setup{func(o *Options, _ *limiter.Options) { o.WriteAck = AckAll }}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, tt.storages, tt.setups...)
			c := r.dial()
			put := func() {
				t.Helper()
				c.Send(putRequest("/b/k", "body"))
				wantStatus(t, c.Answer(), 200)
				r.settled()
			}
			put() // from now on on connections that a poller watches
			var promises atomic.Int64
			f := func([]Promise) { promises.Add(1) }
			r.journal.promise.Store(&f)
			// An answer that comes before it is awaited does not come by the poller.
			asked := int64(1)
			for i := 0; i < 100 && asked != 0; i++ {
				promises.Store(0)
				put()
				asked = promises.Load()
			}
			if asked != 0 {
				t.Error("the journal is asked each time")
			}
			r.journal.busy.Store(true)
			promises.Store(0)
			put()
			if n := promises.Load(); n != 1 {
				t.Errorf("the journal, which may know the key, was asked %d times", n)
			}
		})
	}
}
