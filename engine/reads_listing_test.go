package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/engine/outcome"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
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

// R30: where each backend owes something in the bucket a listing waits for the one that is just at all it owes, and
// not for what was begun after the listing; but not for long.
func TestR30ListingAwaitsWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	const list = "/b?list-type=2"
	for _, policy := range readPolicies {
		for _, ends := range []bool{true, false} {
			t.Run(fmt.Sprint(policy, " ", ends), func(t *testing.T) {
				t.Parallel()
				setups := []setup{reading(policy)}
				if ends {
					setups = append(setups, waitsLong)
				} else {
					setups = append(setups, func(o *Options, _ *limiter.Options) { o.briefWait = 10 * time.Millisecond })
				}
				r := newRig(t, 2, setups...)
				r.journal.owe("b", "missed", 0b01)
				before, after := make(chan struct{}), make(chan struct{})
				gates := map[string]chan struct{}{"/b/1": before, "/b/2": before, "/b/3": after}
				for i, s := range r.stores {
					s.BehaveFunc(func(q *stub.Request) stub.Behaviour {
						switch {
						case q.Target == list:
							return stub.Behaviour{Status: 200, Body: []byte("<L/>")}
						case i == 1:
							return stub.Behaviour{Gate: gates[q.Target]}
						}
						return stub.Behaviour{}
					})
				}
				c := r.dial()
				wantStatus(t, c.Do(putRequest("/b/1", "x")), 200)
				wantStatus(t, c.Do(putRequest("/b/2", "x")), 200)
				r.stores[1].Wait(t, func(q stub.Requests) bool { return q.Held() == 2 })
				begun := r.e.nextID.Load()
				answers := make(chan *stub.Answer, 1)
				go func() { answers <- r.dial().Do(requestFor("GET", list)) }()
				want := 0
				if ends {
					want = 1
					until(t, "the list has begun", func() bool { return r.e.nextID.Load() > begun })
					wantStatus(t, c.Do(putRequest("/b/3", "x")), 200)
					if asked(r.stores[0], list) || asked(r.stores[1], list) {
						t.Error("a storage is asked that lacks a key")
					}
					close(before)
				}
				wantStatus(t, testkit.Receive(t, "an answer", answers), 200)
				if asked(r.stores[1-want], list) || !asked(r.stores[want], list) {
					t.Errorf("it is not the list of storage %d", want)
				}
				if !ends {
					close(before)
				}
				close(after)
				r.settled()
			})
		}
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
