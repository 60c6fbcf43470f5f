package engine

import (
	"fmt"
	"testing"
)

func TestR1EveryBackendGetsEveryRequest(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 4 << 10, 60 << 10, 70 << 10, 1 << 20, 5 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			r := newRig(t, 3)
			body := pattern(size)
			wantStatus(t, r.put("/b/k", body), 200)
			r.wantNoRecords()
			r.wantAllStored("/b/k", body)
			wantStatus(t, r.dial().Do(requestFor("GET", "/b/k")), 200)
		})
	}
}
