package engine

import (
	"strings"
	"testing"

	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
)

// A key that the journal has no room for is the client's fault; what a backend would
// take is for the backends to refuse (R23).
func TestR23KeyTooLong(t *testing.T) {
	t.Parallel()
	const most = 3000
	long, longest := strings.Repeat("k", most+1), strings.Repeat("k", most)
	escaped := strings.Repeat("%6B", most) // it is what is decoded that counts
	tests := []struct {
		name, request string
		status        int // 0: it is passed on
	}{
		{"PUT", putRequest("/b/"+long, "v"), 400},
		{"PUT, virtual host", strings.Replace(putRequest("/"+long, "v"), "s3.test", "b.s3.test", 1), 400},
		{"PUT, escaped", putRequest("/b/%6B"+escaped, "v"), 400},
		{"PUT with a body under way", "PUT /b/" + long + " HTTP/1.1\r\nHost: s3.test\r\nContent-Length: 100000\r\n\r\nabc", 400},
		{"DELETE", requestFor("DELETE", "/b/"+long), 400},
		{"a sub-resource", putRequest("/b/"+long+"?tagging", "v"), 400},
		{"multi-object delete", strings.Replace(putRequest("/b?delete", "<Delete><Object><Key>"+long+"</Key></Object></Delete>"), "PUT", "POST", 1), 400},
		{"as long as may be", putRequest("/b/"+longest, "v"), 0},
		{"as long as may be, escaped", putRequest("/b/"+escaped, "v"), 0},
		{"as long as may be, virtual host", strings.Replace(putRequest("/"+longest, "v"), "s3.test", "b.s3.test", 1), 0},
		{"GET", requestFor("GET", "/b/"+long), 0},
		{"HEAD", requestFor("HEAD", "/b/"+long), 0},
		{"OPTIONS", requestFor("OPTIONS", "/b/"+long), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2, func(o *Options, _ *limiter.Options) { o.Domains = []string{"s3.test"} })
			r.journal.maxKey.Store(most)
			c := r.dial()
			c.Send(tt.request)
			a, err := c.ReadAnswerTo(strings.Fields(tt.request)[0])
			testkit.MustDo(t, err)
			r.settled()
			if tt.status == 0 {
				r.seenBy(1)
				return
			}
			wantS3Error(t, a, 400, "KeyTooLongError")
			c.Close()
			for _, s := range r.stores {
				if n := s.Counts().Conns; n > 0 {
					t.Errorf("a storage was asked: %v", s.Requests())
				}
			}
			r.log.mu.Lock()
			defer r.log.mu.Unlock()
			if len(r.log.warned) > 0 {
				t.Errorf("the operator is bothered: %q", r.log.warned)
			}
		})
	}
}
