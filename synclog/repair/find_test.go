package repair

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/akubra/akubra/s3"
)

// Who has a version says so, or that there is none; any other answer leaves it open (R30).
func TestR30FindVersion(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status    int
		code      string
		have, may bool
	}{
		{200, "", true, false},
		{206, "", true, false},
		{405, "MethodNotAllowed", true, false},
		{416, "InvalidRange", true, false},
		{404, "NoSuchVersion", false, false},
		{404, "NoSuchKey", false, false},
		{400, "InvalidArgument", false, false},
		{400, "InvalidRequest", false, true}, // an encrypted one, for example
		{404, "", false, true},               // nobody knows whose answer that is
		{403, "AccessDenied", false, true},
		{503, "SlowDown", false, true},
	} {
		t.Run(fmt.Sprint(tt.status, tt.code), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 2)
			for _, s := range w.stores {
				s.mu.Lock()
				s.hook = func(out http.ResponseWriter, q *http.Request) bool {
					if q.Method != http.MethodGet || q.URL.Path != "/b/a b" || q.URL.Query().Get("versionId") != "v 1" || q.Header.Get("Range") == "" {
						t.Errorf("asked with %s %s", q.Method, q.URL)
					}
					out.WriteHeader(tt.status)
					if tt.code != "" {
						fmt.Fprint(out, s3.ErrorDocument(tt.code, "", "", ""))
					}
					return true
				}
				s.mu.Unlock()
			}
			r := w.repairer()
			var want [2]uint64
			if tt.have {
				want[0] = 0b01
			}
			if tt.may {
				want[1] = 0b01
			}
			want[1] |= 0b10 // nobody knows a backend of this name
			if have, may := r.FindVersion([]string{w.stores[1].name, "unknown"}, "b", "a b", "v 1"); have != want[0] || may != want[1] {
				t.Errorf("%b, %b; want %b", have, may, want)
			}
		})
	}
}
