package repair

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/akubra/akubra/internal/testkit"
)

// hung is a storage that answers nothing for a minute.
type hung struct{}

func (hung) RoundTrip(req *http.Request) (*http.Response, error) {
	select {
	case <-time.After(time.Minute):
		return nil, errors.New("nothing came")
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
}

// R35: whether a backend's ETags are MD5s is asked of it by one at a time. Who waits for that
// holds no mutex, with which the test's clock stood still, and ends with its context.
func TestR35JudgingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := New(Options{Journal: newQueue(), Backends: []Backend{
			{Name: "A:80", URL: "http://A:80", Transport: hung{}}, {Name: "B:80", URL: "http://B:80", Transport: hung{}},
		}})
		testkit.MustDo(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began := time.Now()
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if r.opaque(ctx, r.backends[0], "b", "k") {
					t.Error("it is opaque")
				}
			})
		}
		all.Wait()
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
