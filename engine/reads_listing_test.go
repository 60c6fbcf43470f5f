package engine

import (
	"fmt"
	"strings"
	"testing"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/engine/outcome"
	"github.com/akubra/akubra/s3"
)

// pagesOf makes a storage whose listings name the next page in a token of its
// own, and which knows no other's.
func pagesOf(s *stub.Server, name string, padding int, chunked bool) {
	s.BehaveFunc(func(r *stub.Request) stub.Behaviour {
		if r.Method != "GET" || strings.Count(r.Target, "/") > 1 {
			return stub.Behaviour{}
		}
		page := 1
		if _, token, ok := strings.Cut(r.Target, "continuation-token="); ok {
			if _, err := fmt.Sscanf(token, name+"%%2B%d", &page); err != nil {
				return stub.Fails(400)
			}
		}
		body := fmt.Sprintf("<ListBucketResult><Name>%s</Name>%s<NextContinuationToken>%s+%d</NextContinuationToken>%s</ListBucketResult>",
			name, strings.Repeat("<Contents/>", padding), name, page+1, strings.Repeat("<Contents/>", padding))
		return stub.Behaviour{Status: 200, Body: []byte(body), Chunked: chunked}
	})
}

// A page is answered by the storage that named it: the tokens of others would
// begin anywhere (R26 is the same for uploads).
func TestPagesOfAListingComeFromOneStorage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		padding int
		chunked bool
	}{{"small", 1, false}, {"large", 10_000, false}, {"chunked", 10_000, true}} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, 3)
			for i, s := range r.stores {
				pagesOf(s, fmt.Sprintf("store%d", i), tt.padding, tt.chunked)
			}
			c := r.dial()
			for range 20 {
				a := c.Do(requestFor("GET", "/b?list-type=2"))
				wantStatus(t, a, 200)
				owner := string(s3.Text(a.Body, "Name"))
				for page := 2; page < 6; page++ {
					token := string(s3.Text(a.Body, "NextContinuationToken"))
					if want := fmt.Sprintf("%s+%d", owner, page); token != want {
						t.Fatalf("the token is %q, want %q", token, want)
					}
					a = c.Do(requestFor("GET", "/b?list-type=2&continuation-token="+strings.Replace(token, "+", "%2B", 1)))
					wantStatus(t, a, 200)
				}
			}
			r.settled()
			for i, s := range r.stores {
				for _, got := range s.Requests() {
					if _, token, ok := strings.Cut(got.Target, "continuation-token="); ok && !strings.HasPrefix(token, fmt.Sprintf("store%d", i)) {
						t.Fatalf("storage %d was asked for %s", i, got.Target)
					}
				}
			}
		})
	}
}

// Nobody else answers for a storage that has left the pool.
func TestPagesOfAStorageThatIsGone(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	for i, s := range r.stores {
		pagesOf(s, fmt.Sprintf("store%d", i), 1, false)
	}
	a := r.dial().Do(requestFor("GET", "/b?list-type=2"))
	wantStatus(t, a, 200)
	owner := string(s3.Text(a.Body, "Name"))
	r.settled()
	for i := range r.stores {
		r.limiter.SetMaintained(i, owner == fmt.Sprintf("store%d", i))
	}
	a = r.dial().Do(requestFor("GET", "/b?list-type=2&continuation-token="+owner+"%2B2"))
	wantXMLError(t, a, 503)
	// A token that nobody has seen is asked of everyone.
	a = r.dial().Do(requestFor("GET", "/b?list-type=2&continuation-token=other"))
	wantStatus(t, a, 400)
}

func TestPageScanner(t *testing.T) {
	t.Parallel()
	doc := "<R>" + strings.Repeat("<Key>k</Key>", 3000) + "<NextContinuationToken>a&amp;b</NextContinuationToken>" +
		strings.Repeat("<Key>k</Key>", 3000) + "<NextVersionIdMarker>v1</NextVersionIdMarker></R>"
	for _, size := range []int{1, 7, 100, 5000, len(doc)} {
		var s pageScanner
		found := map[string]bool{}
		for rest := doc; rest != ""; {
			n := min(size, len(rest))
			s.feed([]byte(rest[:n]), func(token string) { found[token] = true })
			rest = rest[n:]
		}
		if len(found) != 2 || !found["a&b"] || !found["v1"] {
			t.Errorf("in pieces of %d: %v", size, found)
		}
		if len(s.carry) > maxToken {
			t.Errorf("%d bytes are carried", len(s.carry))
		}
	}
}

// A version's id is one storage's own: the others answer as if they had done it.
func TestR15WritesToAVersionAreDivergences(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3)
	for _, tt := range []struct {
		request string
		records int
	}{
		{requestFor("DELETE", "/b/k?versionId=abc"), 3},
		{putRequest("/b/k?tagging&versionId=abc", "<Tagging/>"), 3},
		{requestFor("DELETE", "/b/k?versionId=null"), 0},
		{requestFor("GET", "/b/k?versionId=abc"), 0},
	} {
		before := len(r.settled())
		r.dial().Do(tt.request)
		d := r.settled()[before:]
		if len(d) != tt.records {
			t.Errorf("%.40q: %d records, want %d", tt.request, len(d), tt.records)
		}
		named := map[string]bool{}
		for _, d := range d {
			if d.Error != outcome.VersionOfAnother || d.Key != "k" || d.FailedHost == d.SuccessHost || named[d.FailedHost] {
				t.Errorf("record %+v", d)
			}
			named[d.FailedHost] = true
		}
	}
}
