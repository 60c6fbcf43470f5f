package engine

import (
	"fmt"
	"strings"
	"testing"

	"github.com/akubra/akubra/backends/stub"
)

// TestR28NearFirst: uploads in parts go to the backend of the highest weight, and it decides conditional writes,
// whatever the bucket is; among equals each has its share.
func TestR28NearFirst(t *testing.T) {
	t.Parallel()
	const buckets = 12
	for _, tt := range []struct {
		name    string
		weights []int
		near    int // or nobody
	}{
		{"the first", []int{10, 1}, 0},
		{"the second", []int{1, 10}, 1},
		{"neither", nil, nobody},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2, reading(ReadAll, tt.weights...))
			var owned, decided [2]int
			for i := range buckets {
				path := fmt.Sprintf("/bucket-%d/k", i)
				_, owner := r.initiate(path)
				owned[owner]++
				// Only one of them refuses it: whether the client is refused tells who was asked.
				r.stores[1].BehaveNext(stub.Behaviour{Status: 412})
				put := strings.Replace(putRequest(path, "new"), "\r\n\r\n", "\r\nIf-None-Match: *\r\n\r\n", 1)
				a := r.dial().Do(put)
				r.settled()
				switch a.Status {
				case 200:
					decided[0]++
				case 412:
					decided[1]++
				default:
					wantStatus(t, a, 200)
				}
			}
			for what, counts := range map[string][2]int{"uploads": owned, "conditional writes": decided} {
				for i, n := range counts {
					switch {
					case tt.near == nobody && n == 0, tt.near == i && n != buckets, tt.near == 1-i && n != 0:
						t.Errorf("%d %s of %d were backend %d's", n, what, buckets, i)
					}
				}
			}
		})
	}
}
