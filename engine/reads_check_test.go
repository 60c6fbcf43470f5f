package engine

import (
	"testing"

	"github.com/akubra/akubra/engine/outcome"
	"github.com/akubra/akubra/limiter"
)

// R30: a share of reads is compared with another backend, and what differs is told, unless
// it is known.
func TestR30ReadCheck(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		share  float64
		second string // what the other one has; "" is nothing
		owes   bool
		want   string
	}{
		{"the same", 1, "object", false, ""},
		{"none", 1, "", false, "answered 404"},
		{"another one", 1, "OBJECT", false, outcome.ETagMismatch},
		{"a shorter one", 1, "obj", false, "size mismatch: 3 instead of 6 bytes"},
		{"none, which is known", 1, "", true, ""},
		{"not compared", 0, "", false, ""},
	}
	for _, method := range []string{"GET", "HEAD"} {
		for _, tt := range tests {
			t.Run(method+" "+tt.name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, 2, reading(ReadPrefer, 2, 1), func(o *Options, _ *limiter.Options) { o.ReadCheck = tt.share })
				r.stores[0].Put("/b/k", []byte("object"))
				if tt.second != "" {
					r.stores[1].Put("/b/k", []byte(tt.second))
				}
				if tt.owes {
					r.journal.owe("b", "k", 2)
				}
				c := r.dial()
				for range 2 { // on kept connections, too
					c.Send(requestFor(method, "/b/k"))
					if a, err := c.ReadAnswerTo(method); err != nil || a.Status != 200 {
						t.Fatal(a, err)
					}
				}
				list := r.settled()
				if tt.want == "" && len(list) > 0 || tt.want != "" && len(list) != 2 {
					t.Fatalf("recorded: %+v", list)
				}
				for _, d := range list {
					if d.Op != OpReading || d.Error != tt.want || d.FailedHost != r.host(1) || d.SuccessHost != r.host(0) || d.Key != "k" {
						t.Errorf("recorded: %+v", d)
					}
				}
				asked := 2
				if tt.share == 0 || tt.owes {
					asked = 0
				}
				if n := len(r.stores[1].Requests()); n != asked {
					t.Errorf("the other one was asked %d times", n)
				}
			})
		}
	}
}
