package engine

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
)

// rigs are those whose storages' connections have room for a whole message, or not.
var rigs = map[string]func(testing.TB, int, ...setup) *rig{"roomy": newRig, "tight": newTightRig}

// A body that is there when its turn comes goes through pipes as a whole, and arrives
// byte for byte, as does the request behind it.
func TestR1GatheredBody(t *testing.T) {
	t.Parallel()
	throughPipes(t, testGatheredBody)
}

func testGatheredBody(t testing.TB, _ func() bool) {
	var spliced atomic.Int64
	r := newRig(t, 3, counting(&spliced))
	gate := make(chan struct{})
	for _, s := range r.stores {
		s.BehaveNext(stub.Behaviour{Gate: gate})
	}
	body := pattern(minGathered)
	c := r.dial()
	c.Send(putRequest("/b/first", "x"), putRequest("/b/k", body), requestFor("GET", "/none"))
	for _, s := range r.stores {
		s.Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
	}
	close(gate)
	for _, want := range []int{200, 200, 404} {
		wantStatus(t, c.Answer(), want)
	}
	r.wantRecords("/b/k", "")
	for _, s := range r.stores {
		wantStored(t, s, "/b/k", body)
	}
	if n := spliced.Load(); n < int64(3*len(body)) {
		t.Errorf("only %d bytes went through pipes", n)
	}
}

// Whatever the size and the backend's room, each gets every byte, and nothing is left
// in the pipes for the next one.
func TestR1GatheredBodiesOfAllSizes(t *testing.T) {
	t.Parallel()
	for name, rig := range rigs {
		r := rig(t, 2)
		c := r.dial()
		for i, size := range []int{minGathered - 1, minGathered, 50_001, 64 << 10, 100_000, minSpliced - 1, minSpliced} {
			path := fmt.Sprintf("/b/%s-%d", name, i)
			body := pattern(size)
			wantStatus(t, c.Do(putRequest(path, body)), 200)
			r.wantRecords(path, "")
			for _, s := range r.stores {
				wantStored(t, s, path, body)
			}
		}
	}
}

// A client that leaves before the end leaves nothing behind, in the pipes neither.
func TestR6ClientGoneWhileGathering(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	for i, part := range []int{1, 9000, 30_000, 100_000, minSpliced - 2} {
		body := pattern(minSpliced - 1)
		raw := putRequest("/b/gone", body)
		c := r.dial()
		c.Send(raw[:strings.Index(raw, "\r\n\r\n")+4+part])
		r.wantNothingLeft(c, i%2 == 0, "/b/gone", fmt.Sprintf("/b/next-%d", i), pattern(minGathered+part/2))
	}
}

// A leg that starts again has the whole message once more, whatever the first
// connection took of it.
func TestR12GatheredBodyIsSentAgain(t *testing.T) {
	t.Parallel()
	for name, rig := range rigs {
		for _, during := range []stub.During{stub.CloseThere, stub.ResetThere} {
			for _, after := range []int64{0, 50, 60_000, 150_000} {
				t.Run(fmt.Sprintf("%s, %d after %d", name, during, after), func(t *testing.T) {
					r := rig(t, 2)
					r.warm(stub.Behaviour{})
					r.stores[0].BehaveNext(dying(after, during))
					body := pattern(200_000)
					wantStatus(t, r.put("/b/k", body), 200)
					r.wantRecords("/b/k", "")
					r.wantNoBlame()
					for _, s := range r.stores {
						wantStored(t, s, "/b/k", body)
					}
				})
			}
		}
	}
}

// One that ends badly is a divergence, and what it left in its pipe nobody's.
func TestR9R12GatheredBodyThatFails(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]stub.Behaviour{
		"rejects": {During: stub.AnswerAndStop, After: 20_000},
		"closes":  {During: stub.CloseThere, After: 20_000},
		"resets":  {During: stub.ResetThere, After: 20_000},
		"hangs":   {During: stub.HangThere, After: 20_000},
	} {
		slowlyBeside(t, name, 500*time.Millisecond, func(t testing.TB, timeout time.Duration) {
			r := newTightRig(t, 2, withConnectionTimeout(timeout))
			r.stores[0].Behave(b)
			for i := range 3 {
				body := pattern(200_000 + i)
				path := fmt.Sprintf("/b/k%d", i)
				wantStatus(t, r.put(path, body), 200)
				r.wantRecords(path, "", 0)
				wantStored(t, r.stores[1], path, body)
				wantAbsent(t, r.stores[0], path)
			}
			r.stores[0].Unhang()
		})
	}
}
