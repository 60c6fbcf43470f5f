package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/limiter"
	"github.com/akubra/akubra/s3"
)

// unknownVersion is how storages answer a request for a version whose id they do not know.
var unknownVersion = map[string]stub.Behaviour{
	"404": {Status: 404, Body: []byte(s3.ErrorDocument("NoSuchVersion", "", "", ""))},
	"400": {Status: 400, Body: []byte(s3.ErrorDocument("InvalidArgument", "Invalid version id specified", "", ""))},
}

// issued has the proxy see that a storage calls a version of /b/src by this id, and forget nothing of it.
func (r *rig) issued(store int, id string) {
	r.t.Helper()
	r.e.versions.Put("b/"+id, store)
}

// A version is copied by the backend that issued its id, and by no other one: what the others say of the id is no
// answer. They owe the copy.
func TestR30CopyOfAVersion(t *testing.T) {
	t.Parallel()
	for name, says := range unknownVersion {
		for _, known := range []bool{true, false} {
			for _, condition := range []string{"", "If-None-Match: *\r\n"} {
				t.Run(fmt.Sprint(name, " ", known, " ", condition), func(t *testing.T) {
					t.Parallel()
					r := newRig(t, 3, decidedBy)
					for i, s := range r.stores {
						s.Put("/b/src", []byte("source"))
						if i != 1 {
							s.Behave(says)
						}
					}
					if known {
						r.issued(1, "v1")
					}
					request := strings.Replace(copyRequest("/to/k", "/b/src?versionId=v1"), "\r\n\r\n", "\r\n"+condition+"\r\n", 1)
					wantStatus(t, r.dial().Do(request), 200)
					r.settled()
					wantStored(t, r.stores[1], "/to/k", "source")
					if e := r.journal.newest("to", "k"); e.Owed != 0b101 || e.Took != 0b010 || known && string(e.Reason) != ReasonSourceVersion {
						t.Errorf("owed %b, took %b: %s", e.Owed, e.Took, e.Reason)
					}
					if n := len(r.stores[0].Requests()); known && n != 0 {
						t.Errorf("another one was asked %d times", n)
					}
				})
			}
		}
	}
}

// As long as it is not available, nobody says that the version does not exist.
func TestR30CopyOfAVersionWhoseIssuerIsOut(t *testing.T) {
	t.Parallel()
	for _, known := range []bool{true, false} {
		for name, out := range map[string]func(r *rig){
			"maintained": func(r *rig) { r.limiter.SetMaintained(1, true) },
			"broken":     func(r *rig) { r.stores[1].Behave(stub.Behaviour{Cut: stub.CutReset, CutAt: stub.NoAnswer}) },
			"failing":    func(r *rig) { r.stores[1].Behave(stub.Fails(500)) },
		} {
			for _, ask := range []string{
				copyRequest("/to/k", "/b/src?versionId=v1"),
				conditional("PUT", "/to/k", "", "x-amz-copy-source: /b/src?versionId=v1"),
				requestFor("GET", "/b/src?versionId=v1"), requestFor("HEAD", "/b/src?versionId=v1"),
				requestFor("GET", "/b/src?tagging&versionId=v1"),
			} {
				method := ask[:strings.IndexByte(ask, ' ')]
				t.Run(fmt.Sprint(known, " ", name, " ", method), func(t *testing.T) {
					t.Parallel()
					r := newRig(t, 2, decidedBy)
					r.stores[0].Behave(unknownVersion["404"])
					out(r)
					if known {
						r.issued(1, "v1")
					}
					c := r.dial()
					c.Send(ask)
					a, err := c.ReadAnswerTo(method)
					if err != nil {
						t.Fatal(err)
					}
					if a.Status < 500 {
						t.Errorf("answered %d", a.Status)
					}
					r.settled()
				})
			}
		}
	}
}

// Where all say so the version does not exist.
func TestR28UnknownToAll(t *testing.T) {
	t.Parallel()
	for name, says := range unknownVersion {
		for _, ask := range []string{
			copyRequest("/to/k", "/b/src?versionId=v1"),
			conditional("PUT", "/to/k", "", "x-amz-copy-source: /b/src?versionId=v1"),
			requestFor("GET", "/b/src?versionId=v1"),
			requestFor("GET", "/b/src?tagging&versionId=v1"),
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, 2, decidedBy)
				for _, s := range r.stores {
					s.Behave(says)
				}
				wantStatus(t, r.dial().Do(ask), says.Status)
				r.wantNoRecords()
			})
		}
	}
}

// What the issuer refuses is refused, however late it says so.
func TestR28RefusalOfTheIssuer(t *testing.T) {
	t.Parallel()
	for _, ask := range []string{
		requestFor("GET", "/b/src?versionId=v1"), // a delete marker's
		copyRequest("/to/k", "/b/src?versionId=v1"),
		conditional("PUT", "/to/k", "", "x-amz-copy-source: /b/src?versionId=v1"),
	} {
		r := newRig(t, 3, decidedBy)
		gate := make(chan struct{})
		r.stores[0].Behave(unknownVersion["404"])
		r.stores[1].Behave(stub.Behaviour{Status: 405, Gate: gate})
		r.stores[2].Behave(unknownVersion["400"])
		c := r.dial()
		c.Send(ask)
		r.awaitHeld(1)
		close(gate)
		wantStatus(t, c.Answer(), 405)
		r.settled()
	}
}

// A write to a version that only its issuer can take needs nobody else's yes.
func TestR28TagsOfAVersion(t *testing.T) {
	t.Parallel()
	for _, ack := range []string{AckFirst, AckQuorum, AckAll} {
		r := newRig(t, 3, decidedBy, func(o *Options, _ *limiter.Options) { o.WriteAck = ack })
		r.stores[0].Behave(unknownVersion["404"])
		r.stores[2].Behave(unknownVersion["400"])
		wantStatus(t, r.put("/b/k?tagging&versionId=v1", "tags"), 200)
		r.settled()
	}
}

// A copy that too few backends can make is not refused as one of what does not exist.
func TestR30CopyOfAVersionForSeveral(t *testing.T) {
	t.Parallel()
	for _, known := range []bool{true, false} {
		r := newRig(t, 2, decidedBy, func(o *Options, _ *limiter.Options) { o.WriteAck = AckAll })
		r.stores[0].Behave(unknownVersion["404"])
		r.stores[1].Put("/b/src", []byte("source"))
		if known {
			r.issued(1, "v1")
		}
		wantStatus(t, r.dial().Do(copyRequest("/to/k", "/b/src?versionId=v1")), 503)
		r.settled()
		if e := r.journal.newest("to", "k"); e.Owed != 0b01 {
			t.Errorf("owed %b", e.Owed)
		}
	}
}

// A part is copied by its upload's owner. Where that did not issue the id of the version, or may not have, it
// does not say that there is none.
func TestR30PartCopyOfAnotherOnesVersion(t *testing.T) {
	t.Parallel()
	for name, says := range unknownVersion {
		for _, issuer := range []int{0, 1, nobody} {
			for _, owner := range []bool{true, false} {
				t.Run(fmt.Sprint(name, issuer, owner), func(t *testing.T) {
					t.Parallel()
					r := newRig(t, 2)
					path, id := r.uploadFrom(1)
					if !owner {
						r = newRigOn(t, r.stores) // has never heard of it
					}
					if issuer >= 0 {
						r.issued(issuer, "v1")
					}
					for i, s := range r.stores {
						s.Put("/b/src", []byte("source"))
						if i != issuer {
							s.Behave(says)
						}
					}
					a := r.dial().Do(copyRequest(path+"?partNumber=1&uploadId="+id, "/b/src?versionId=v1"))
					switch {
					case issuer == 1:
						wantStatus(t, a, 200)
					default:
						wantXMLError(t, a, 503)
					}
					r.settled()
				})
			}
		}
	}
	// What its own issuer says is the answer, and so is that there is no such upload.
	r := newRig(t, 2)
	path, id := r.uploadFrom(1)
	r.issued(1, "v1")
	r.stores[1].BehaveNext(unknownVersion["404"])
	wantStatus(t, r.dial().Do(copyRequest(path+"?partNumber=1&uploadId="+id, "/b/src?versionId=v1")), 404)
	wantStatus(t, r.dial().Do(requestFor("DELETE", path+"?uploadId="+id)), 204)
	wantStatus(t, r.dial().Do(copyRequest(path+"?partNumber=1&uploadId="+id, "/b/src?versionId=other")), 404)
	r.settled()
}

// A completion under a condition is decided by the upload's owner, also where that is not known: that the others
// have no such upload decides nothing.
func TestR29CompleteOfAnUnknownUpload(t *testing.T) {
	t.Parallel()
	for owner := range 3 {
		for _, says := range []int{200, 412, 409, 503} {
			for _, whole := range []bool{true, false} {
				t.Run(fmt.Sprint(owner, " ", says, " ", whole), func(t *testing.T) {
					t.Parallel()
					stores := newRig(t, 3, func(o *Options, _ *limiter.Options) { o.Primary = []PrimaryRule{{"", owner}} })
					id, at := stores.initiate("/b/k")
					if at != owner {
						t.Fatalf("storage %d has it", at)
					}
					etag := stores.uploadPart("/b/k", id, 1, "part")
					r := newRigOn(t, stores.stores, decidedBy) // has never heard of it
					if says != 200 {
						r.stores[owner].Behave(stub.Fails(says))
					}
					raw := strings.Replace(completeRequest("/b/k", id, etag), "\r\n\r\n", "\r\nIf-None-Match: *\r\n\r\n", 1)
					c := r.dial()
					if whole {
						c.Send(raw)
					} else {
						c.Send(raw[:len(raw)-20])
						until(t, "it is being handled", func() bool { return r.e.handling.Load() == 1 })
						c.Send(raw[len(raw)-20:])
					}
					wantStatus(t, c.Answer(), says)
					r.settled()
					if says == 200 {
						wantStored(t, r.stores[owner], "/b/k", "part")
						if e := r.journal.newest("b", "k"); e.Owed != 0b111&^(1<<owner) {
							t.Errorf("owed %b", e.Owed)
						}
					} else {
						r.wantAllAbsent("/b/k")
					}
				})
			}
		}
	}
}

// One that has said so before it was asked to decide is not asked again.
func TestR29UnknownUploadIsRefusedEarly(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3, decidedBy)
	none := []byte(s3.ErrorDocument(s3.NoSuchUpload, "", "", ""))
	r.stores[0].Behave(stub.Behaviour{Status: 404, Body: none})
	r.stores[1].Behave(stub.Behaviour{During: stub.AnswerAndDrain, Status: 404, Body: none})
	r.stores[2].Behave(stub.Fails(412))
	raw := strings.Replace(completeRequest("/b/k", "id", pattern(1<<20)), "\r\n\r\n", "\r\nIf-None-Match: *\r\n\r\n", 1)
	c := r.dial()
	c.Send(raw[:len(raw)-20])
	r.legsEnded(OutcomeNegative, 1)
	c.Send(raw[len(raw)-20:])
	wantStatus(t, c.Answer(), 412)
	r.settled()
}

// If its owner may be out, nobody says that the upload does not exist, nor that it is completed.
func TestR29CompleteOfAnUnknownUploadWhoseOwnerIsOut(t *testing.T) {
	t.Parallel()
	for _, out := range []func(r *rig){
		func(r *rig) { r.limiter.SetMaintained(1, true) },
		func(r *rig) { r.stores[1].Behave(stub.Behaviour{Cut: stub.CutReset, CutAt: stub.NoAnswer}) },
		func(r *rig) { r.stores[1].Down() },
	} {
		r := newRig(t, 3, decidedBy)
		out(r)
		raw := strings.Replace(completeRequest("/b/k", "id", "etag"), "\r\n\r\n", "\r\nIf-None-Match: *\r\n\r\n", 1)
		wantXMLError(t, r.dial().Do(raw), 503)
		r.settled()
	}
}

// Of two that say they have completed an upload one has never had it (versitygw 1.8 says so of any upload, where it
// has an object under that key): both are looked at before they are believed.
func TestR26CompletedTwice(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, decidedBy)
	for _, s := range r.stores {
		s.Behave(stub.Behaviour{Status: 200, Body: []byte(`<CompleteMultipartUploadResult><ETag>"a-1"</ETag></CompleteMultipartUploadResult>`)})
	}
	wantStatus(t, r.dial().Do(completeRequest("/b/k", "id", "etag")), 200)
	r.settled()
	if e := r.journal.newest("b", "k"); e.Owed != 0b11 || e.Took != 0b11 || string(e.ETag) != "a-1" {
		t.Errorf("owed %b, took %b, ETag %q", e.Owed, e.Took, e.ETag)
	}
}

// Where the issuer of the version that a part is copied from is not known the backends are asked who has it. If none
// has, the upload's owner says so; if one of them may, nobody does.
func TestR30PartCopyOfAVersionThatIsSought(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		have, may uint64
		known     bool // who issued the id
		want      int
		asked     bool // the owner
	}{
		"nobody has it":           {0, 0, false, 404, true},
		"the owner has it":        {0b10, 0, false, 404, true}, // it says what it says
		"another one has it":      {0b01, 0, false, 503, false},
		"another one may have it": {0, 0b01, false, 503, true},
		"each has one":            {0b11, 0, false, 503, true},
		"nobody needs to ask":     {0b01, 0, true, 404, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var sought []string
			r := newRig(t, 2, func(o *Options, _ *limiter.Options) {
				o.FindVersion = func(bucket, key, id string) (have, may uint64) {
					sought = append(sought, bucket+"/"+key+" "+id)
					return tt.have, tt.may
				}
			})
			path, id := r.uploadFrom(1)
			if tt.known {
				r.issued(1, "v1")
			}
			r.stores[1].Behave(unknownVersion["404"])
			before := len(r.stores[1].Requests())
			wantStatus(t, r.dial().Do(copyRequest(path+"?partNumber=1&uploadId="+id, "/b/src?versionId=v1")), tt.want)
			r.settled()
			if asked := len(r.stores[1].Requests()) > before; asked != tt.asked {
				t.Errorf("the owner was asked: %v", asked)
			}
			if want := []string{"b/src v1"}; tt.known && len(sought) != 0 || !tt.known && !slices.Equal(sought, want) {
				t.Errorf("sought: %q", sought)
			}
		})
	}
}
