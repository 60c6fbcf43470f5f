package engine

import (
	"runtime"
	"strconv"
	"sync"
	"testing"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
)

// What the end of one leg has to wait for keeps no other request waiting, on whichever
// connection that is: for the journal that what is owed is written down (R20), and for
// the synclog and the access log that they are read (R15).
func TestNoAnswerWaitsForAnothersEnd(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		setups []setup
		block  func(r *rig, wait func())
		status int // of the second storage
	}{
		"settled": {nil, func(r *rig, wait func()) {
			f := func(owed uint64) {
				if owed != 0 {
					wait()
				}
			}
			r.journal.settle.Store(&f)
		}, 500},
		"written down": {[]setup{func(o *Options, _ *limiter.Options) { o.WriteAck = AckAll }}, func(r *rig, wait func()) {
			r.journal.busy.Store(true)
			f := func(es []Promise) {
				if string(es[0].Key) == "slow" {
					wait()
				}
			}
			r.journal.promise.Store(&f)
		}, 0},
		"recorded": {nil, func(r *rig, wait func()) { r.records.before.Store(&wait) }, 500},
		"logged": {[]setup{logged}, func(r *rig, wait func()) {
			f := func(a *Access) {
				if a.Path == "/b/slow" {
					wait()
				}
			}
			r.log.before.Store(&f)
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 2, tt.setups...)
			// As many connections at once as each poller has some of.
			n := 4 * runtime.GOMAXPROCS(0)
			putAll := func() {
				gate := make(chan struct{})
				for _, s := range r.stores {
					s.Behave(stub.Behaviour{Gate: gate})
				}
				var clients []*stub.Client
				for i := range n {
					c := r.dial()
					c.Send(putRequest("/b/"+strconv.Itoa(i), "body"))
					clients = append(clients, c)
				}
				for _, s := range r.stores {
					s.Wait(t, func(rs stub.Requests) bool { return rs.Held() == n })
				}
				close(gate)
				for _, c := range clients {
					wantStatus(t, c.Answer(), 200)
				}
				for _, s := range r.stores {
					s.Behave(stub.Behaviour{})
				}
			}
			putAll()
			r.settled()

			held, gate := make(chan struct{}, 1), make(chan struct{})
			goOn := sync.OnceFunc(func() { close(gate) })
			t.Cleanup(goOn)
			tt.block(r, func() {
				held <- struct{}{}
				<-gate
			})
			first := make(chan struct{})
			r.stores[1].BehaveNext(stub.Behaviour{Status: tt.status, Gate: first})
			c := r.dial()
			c.Send(putRequest("/b/slow", "body"))
			r.stores[1].Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
			answered := func() {
				wantStatus(t, c.Answer(), 200)
			}
			if tt.status != 0 { // the first storage's word is the answer, and comes before
				answered()
			}
			close(first)
			testkit.Receive(t, "who is held back", held)
			conns := r.stores[0].Counts().Conns
			putAll()
			if more := r.stores[0].Counts().Conns - conns; more > 1 {
				t.Errorf("%d new connections: little was shown", more)
			}
			goOn()
			if tt.status == 0 {
				answered()
			}
		})
	}
}
