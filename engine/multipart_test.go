package engine

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/limiter"
	"github.com/akubra/akubra/s3"
)

func initiateRequest(path string) string {
	return "POST " + path + "?uploads HTTP/1.1\r\nHost: s3.test\r\nUser-Agent: ua\r\nContent-Length: 0\r\n\r\n"
}

// initiate begins an upload, and returns its id and the storage that has it.
func (r *rig) initiate(path string) (id string, owner int) {
	r.t.Helper()
	a := r.dial().Do(initiateRequest(path))
	wantStatus(r.t, a, 200)
	id = s3.UnescapeText(s3.Text(a.Body, "UploadId"))
	owner = -1
	for i, s := range r.stores {
		if slices.Contains(s.Uploads(), id) {
			owner = i
		}
	}
	if owner < 0 {
		r.t.Fatalf("no storage has upload %q", id)
	}
	return id, owner
}

func (r *rig) uploadPart(path, id string, number int, body string) (etag string) {
	r.t.Helper()
	a := r.put(fmt.Sprintf("%s?partNumber=%d&uploadId=%s", path, number, url.QueryEscape(id)), body)
	wantStatus(r.t, a, 200)
	return a.Headers.Get("ETag")
}

func completeRequest(path, id string, etags ...string) string {
	var b strings.Builder
	b.WriteString("<CompleteMultipartUpload>")
	for i, etag := range etags {
		fmt.Fprintf(&b, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", i+1, escapedXML(etag))
	}
	b.WriteString("</CompleteMultipartUpload>")
	return fmt.Sprintf("POST %s?uploadId=%s HTTP/1.1\r\nHost: s3.test\r\nUser-Agent: ua\r\nContent-Length: %d\r\n\r\n%s",
		path, url.QueryEscape(id), b.Len(), b.String())
}

// wantCompletion checks that the records are the completion's, for every storage
// but the owner. size is the object's, unless the proxy cannot know it.
func (r *rig) wantCompletion(owner int, path, id, key string, size int64) {
	r.t.Helper()
	list := r.settled()
	if len(list) != len(r.stores)-1 {
		r.t.Fatalf("%d records, want %d: %+v", len(list), len(r.stores)-1, list)
	}
	o, _ := r.stores[owner].Object(path)
	for _, d := range list {
		who := slices.IndexFunc(r.stores, func(s *stub.Server) bool { return s.Addr() == d.FailedHost })
		if who < 0 || who == owner {
			r.t.Fatalf("failed at %q", d.FailedHost)
		}
		r.wantRecord(d, Divergence{
			Method: "POST", Path: path + "?uploadId=" + url.QueryEscape(id), FailedHost: r.host(who), SuccessHost: r.host(owner),
			UserAgent: "ua", Error: "multipart upload", Op: OpStoring, Bucket: "b", Key: key, ETag: strings.Trim(o.ETag, `"`), Size: size,
		})
	}
}

func TestR26UploadBelongsToOneBackend(t *testing.T) {
	t.Parallel()
	for _, ack := range []string{AckFirst, AckQuorum, AckAll} {
		t.Run(ack, func(t *testing.T) {
			r := newRig(t, 3, func(o *Options, _ *limiter.Options) { o.WriteAck = ack })
			const path = "/b/large%20key/%C3%BC"
			id, owner := r.initiate(path)
			first, second := pattern(6<<20), pattern(3 << 20)[1:]
			etags := []string{r.uploadPart(path, id, 1, first), r.uploadPart(path, id, 2, second)}
			a := r.dial().Do(requestFor("GET", path+"?uploadId="+id))
			wantStatus(t, a, 200)
			if strings.Count(string(a.Body), "<PartNumber>") != 2 {
				t.Fatalf("parts: %s", a.Body)
			}
			if d := r.settled(); len(d) > 0 {
				t.Fatalf("recorded before the end: %+v", d)
			}
			wantStatus(t, r.dial().Do(completeRequest(path, id, etags...)), 200)
			r.wantCompletion(owner, path, id, "large key/ü", 9<<20-1)
			wantStored(t, r.stores[owner], path, first+second)
			for i, s := range r.stores {
				if i != owner && s.Counts().Conns != 0 || len(s.Uploads()) != 0 {
					t.Errorf("storage %d saw %v and has uploads %v", i, s.Requests(), s.Uploads())
				}
			}
			r.wantNoOverlaps()
		})
	}
}

func TestR26AbortLeavesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3)
	id, owner := r.initiate("/b/k")
	r.uploadPart("/b/k", id, 1, "part")
	wantStatus(t, r.dial().Do(requestFor("DELETE", "/b/k?uploadId="+id)), 204)
	wantStatus(t, r.dial().Do(requestFor("GET", "/b/k?uploadId="+id)), 404)
	r.wantNoRecords()
	for i, s := range r.stores {
		if len(s.Uploads()) != 0 || i != owner && s.Counts().Conns != 0 {
			t.Errorf("storage %d: %v", i, s.Requests())
		}
	}
}

// An upload belongs to its bucket's primary. All proxies in front of the same storages
// choose alike, and use all of them.
func TestR26UploadsBelongToThePrimary(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3)
	other := newRigOn(t, r.stores)
	seen := map[int]int{}
	for i := range 60 {
		path := fmt.Sprintf("/b%d/k", i)
		_, owner := r.initiate(path)
		_, again := other.initiate(path)
		_, another := r.initiate(path + "2")
		if owner != again || owner != another {
			t.Fatalf("%s goes to %d and to %d, another key to %d", path, owner, again, another)
		}
		seen[owner]++
	}
	for i := range r.stores {
		if seen[i] < 8 {
			t.Errorf("storage %d has %d of 60 uploads", i, seen[i])
		}
	}
}

func TestR26NextBackendIfTheFirstFails(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		setup setup
		fail  func(r *rig, i int)
	}{
		{name: "dead", fail: func(r *rig, i int) { r.stores[i].Down() }},
		{
			name: "dead, and so demoted", setup: func(_ *Options, lo *limiter.Options) { lo.FailureLimit = 1 },
			fail: func(r *rig, i int) { r.stores[i].Down() },
		},
		{name: "500", fail: func(r *rig, i int) { r.stores[i].Behave(stub.Fails(500)) }},
		{name: "503", fail: func(r *rig, i int) { r.stores[i].Behave(stub.Fails(503)) }},
		{name: "closes", fail: func(r *rig, i int) {
			r.stores[i].Behave(stub.Behaviour{Cut: stub.CutClose, CutAt: stub.NoAnswer, Store: stub.StoreNever})
		}},
		{name: "half an answer", fail: func(r *rig, i int) {
			r.stores[i].Behave(stub.Behaviour{Status: 200, Store: stub.StoreNever, Body: []byte("<R><UploadId>id</UploadId></R>"), Cut: stub.CutClose, CutAt: 29})
		}},
		{name: "no upload", fail: func(r *rig, i int) { r.stores[i].Behave(stub.Behaviour{Status: 200, Store: stub.StoreNever}) }},
		{name: "an error in a 200", fail: func(r *rig, i int) { r.stores[i].Behave(stub.ErrorIn200("InternalError")) }},
		{name: "resets", fail: func(r *rig, i int) {
			r.stores[i].WaitDone(r.t, 1) // its connection is idle then
			r.stores[i].RefuseAccept(true)
			r.stores[i].CloseIdle()
		}},
		{
			name: "hangs", setup: func(o *Options, _ *limiter.Options) { o.ConnectionTimeout = 2 * time.Second },
			fail: func(r *rig, i int) { r.stores[i].Behave(stub.Behaviour{HangAfterBody: true, Store: stub.StoreNever}) },
		},
		{
			name: "demoted", setup: func(_ *Options, lo *limiter.Options) { lo.FailureLimit = 1 },
			fail: func(r *rig, i int) { r.limiter.Failed(i, 0) },
		},
		{name: "maintained", fail: func(r *rig, i int) { r.limiter.SetMaintained(i, true) }},
	}
	for _, tt := range tests {
		for _, n := range []int{2, 3} {
			t.Run(fmt.Sprint(tt.name, " of ", n), func(t *testing.T) {
				t.Parallel()
				var setups []setup
				if tt.setup != nil {
					setups = append(setups, tt.setup)
				}
				// Find where the key belongs, then let it fail there.
				r := newRig(t, n, setups...)
				_, owner := r.initiate("/b/k")
				tt.fail(r, owner)
				id, next := r.initiate("/b/k")
				if next == owner {
					t.Fatal("the failing storage took it")
				}
				etag := r.uploadPart("/b/k", id, 1, "part")
				wantStatus(t, r.dial().Do(completeRequest("/b/k", id, etag)), 200)
				r.wantCompletion(next, "/b/k", id, "k", 4)
				// Another one, in case the failure has made it leave the pool.
				r.initiate("/b/k")
			})
		}
	}
}

func TestR26InitiateThatNobodyTakes(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3)
	for _, s := range r.stores {
		s.Behave(stub.Fails(500))
	}
	wantStatus(t, r.dial().Do(initiateRequest("/b/k")), 500)
	for i, s := range r.stores {
		if n := len(s.Requests()); n != 1 {
			t.Errorf("storage %d was asked %d times", i, n)
		}
		s.Down()
	}
	wantStatus(t, r.dial().Do(initiateRequest("/b/k")), 503)
	r.wantNoRecords()
}

// What the client did wrong is wrong everywhere: it is told so, and no other
// storage is asked.
func TestR26InitiateThatIsRefused(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 403, 404} {
		r := newRig(t, 3)
		for _, s := range r.stores {
			s.Behave(stub.Fails(status))
		}
		wantStatus(t, r.dial().Do(initiateRequest("/b/k")), status)
		asked := 0
		for _, s := range r.stores {
			asked += len(s.Requests())
		}
		if asked != 1 {
			t.Errorf("%d storages were asked", asked)
		}
	}
}

// After a restart, or behind another proxy, an upload's id is unknown.
func TestR26UnknownIDIsAskedOfEveryoneAndLearnt(t *testing.T) {
	t.Parallel()
	part := func(r *rig, id string) { r.uploadPart("/b/k", id, 1, pattern(3<<20)) }
	list := func(r *rig, id string) {
		wantStatus(r.t, r.dial().Do(requestFor("GET", "/b/k?uploadId="+id)), 200)
	}
	for name, ask := range map[string]func(*rig, string){"part": part, "list": list} {
		t.Run(name, func(t *testing.T) {
			before := newRig(t, 3)
			id, owner := before.initiate("/b/k")
			r := newRigOn(t, before.stores)
			ask(r, id)
			r.settled()
			asked := make([]int, 3)
			for i, s := range r.stores {
				if asked[i] = len(s.Requests()); asked[i] == 0 {
					t.Fatalf("storage %d was not asked", i)
				}
			}
			etag := r.uploadPart("/b/k", id, 1, "part one")
			list(r, id)
			wantStatus(t, r.dial().Do(completeRequest("/b/k", id, etag)), 200)
			r.wantCompletion(owner, "/b/k", id, "k", 8)
			for i, s := range r.stores {
				if i != owner && len(s.Requests()) != asked[i] {
					t.Errorf("storage %d was asked again: %v", i, s.Requests())
				}
				if len(s.Uploads()) != 0 {
					t.Errorf("storage %d has uploads left", i)
				}
			}
		})
	}
	t.Run("complete", func(t *testing.T) {
		for _, ack := range []string{AckFirst, AckAll} {
			before := newRig(t, 3)
			id, owner := before.initiate("/b/k")
			etag := before.uploadPart("/b/k", id, 1, "x")
			r := newRigOn(t, before.stores, func(o *Options, _ *limiter.Options) { o.WriteAck = ack })
			wantStatus(t, r.dial().Do(completeRequest("/b/k", id, etag)), 200)
			r.wantCompletion(owner, "/b/k", id, "k", 0) // the part went through another proxy
		}
	})
	t.Run("abort", func(t *testing.T) {
		before := newRig(t, 3)
		id, _ := before.initiate("/b/k")
		r := newRigOn(t, before.stores)
		wantStatus(t, r.dial().Do(requestFor("DELETE", "/b/k?uploadId="+id)), 204)
		wantStatus(t, r.dial().Do(requestFor("DELETE", "/b/k?uploadId="+id)), 404)
		r.wantNoRecords()
	})
	t.Run("nobody knows it", func(t *testing.T) {
		r := newRig(t, 3)
		for range 2 {
			wantStatus(t, r.put("/b/k?partNumber=1&uploadId=none", "x"), 404)
		}
		wantStatus(t, r.dial().Do(completeRequest("/b/k", "none", "e")), 404)
		r.wantNoRecords()
	})
}

func TestR26OwnerOutOfThePool(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3, func(_ *Options, lo *limiter.Options) { lo.FailureLimit = 1 })
	id, owner := r.initiate("/b/k")
	etag := r.uploadPart("/b/k", id, 1, "x")
	r.limiter.Failed(owner, 0)
	for _, request := range []string{
		putRequest("/b/k?partNumber=2&uploadId="+id, "y"), requestFor("GET", "/b/k?uploadId="+id),
		completeRequest("/b/k", id, etag), requestFor("DELETE", "/b/k?uploadId="+id),
	} {
		a := r.dial().Do(request)
		wantStatus(t, a, 503) // so that the client tries again
		if code := string(s3.Text(a.Body, "Code")); code != "SlowDown" && code != "ServiceUnavailable" {
			t.Errorf("code %q", code)
		}
	}
	r.wantNoRecords()
	for i, s := range r.stores {
		if i != owner && s.Counts().Conns != 0 {
			t.Errorf("storage %d was asked: %v", i, s.Requests())
		}
	}
	r.limiter.Return(owner)
	wantStatus(t, r.dial().Do(completeRequest("/b/k", id, etag)), 200)
	r.wantCompletion(owner, "/b/k", id, "k", 1)
	// The same, dead but not demoted.
	id, owner = r.initiate("/b/k")
	r.stores[owner].Down()
	wantStatus(t, r.put("/b/k?partNumber=1&uploadId="+id, "y"), 503)
}

// Ids are a storage's own words, whatever they are made of.
func TestR26IDsWithSpecialCharacters(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"a+b/c=", "a&b<c>", "ü%2F%", "~.-_", "a b", strings.Repeat("long", 500), `"quoted"`} {
		t.Run(id[:min(len(id), 10)], func(t *testing.T) {
			r := newRig(t, 3)
			for _, s := range r.stores {
				s.BehaveFunc(func(q *stub.Request) stub.Behaviour {
					b := stub.Behaviour{Status: 200, Body: []byte("<R><UploadId>\n" + escapedXML(id) + " </UploadId></R>")}
					if !strings.Contains(q.Target, "?uploads") {
						b.Body = []byte("<R/>")
					}
					return b
				})
			}
			wantStatus(t, r.dial().Do(initiateRequest("/b/k")), 200)
			wantStatus(t, r.put("/b/k?partNumber=1&uploadId="+url.PathEscape(id), "x"), 200)
			if id != "a b" { // PathEscape does not escape + and &, which a client must
				wantStatus(t, r.put("/b/k?uploadId="+strings.ReplaceAll(url.QueryEscape(id), "+", "%20")+"&partNumber=2", "x"), 200)
			}
			asked := 0
			for _, s := range r.stores {
				if len(s.Requests()) > 0 {
					asked++
				}
			}
			if want := 1; asked != want && !strings.Contains(id, "&") {
				t.Fatalf("%d storages were asked", asked)
			}
		})
	}
}

// R25: an error document in a 200 is no success, whenever it comes.
func TestR25ErrorInA200(t *testing.T) {
	t.Parallel()
	const errorDoc = `<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<Error><Code>InternalError</Code><Message>m</Message></Error>`
	const copyDoc = `<?xml version="1.0" encoding="UTF-8"?><CopyObjectResult><ETag>&quot;e&quot;</ETag></CopyObjectResult>`
	copyRequest := "PUT /b/k HTTP/1.1\r\nHost: s3.test\r\nX-Amz-Copy-Source: /b/src\r\nContent-Length: 0\r\n\r\n"
	failing := map[string]stub.Behaviour{
		"after blanks":  {Status: 200, Store: stub.StoreNever, Spaces: 5, Body: []byte(errorDoc)},
		"at once":       {Status: 200, Store: stub.StoreNever, Body: []byte(errorDoc)},
		"until close":   {Status: 200, Store: stub.StoreNever, NoLength: true, Body: []byte("  \r\n" + errorDoc)},
		"no prologue":   {Status: 200, Store: stub.StoreNever, Body: []byte("\n<Error xmlns=\"x\"><Code>InternalError</Code></Error>")},
		"attributes":    {Status: 200, Store: stub.StoreNever, Body: []byte("<Error\nxmlns=\"x\">\n<Code>InternalError</Code></Error>")},
		"blanks before": {Status: 200, Store: stub.StoreNever, Body: []byte(strings.Repeat(" ", 100_000) + errorDoc)},
	}
	for name, behaviour := range failing {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 2)
			gate := make(chan struct{})
			r.stores[0].Behave(behaviour)
			r.stores[1].Behave(stub.Behaviour{Status: 200, Spaces: 3, BodyGate: gate, Body: []byte(copyDoc)})
			client := r.dial()
			client.Send(copyRequest)
			r.stores[0].WaitDone(t, 1)
			r.stores[1].Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
			close(gate)
			a, err := client.ReadAnswer()
			if err != nil || a.Status != 200 || !strings.HasSuffix(string(a.Body), copyDoc) {
				t.Fatal(a, err)
			}
			list := r.settled()
			if len(list) != 1 || list[0].FailedHost != r.host(0) || list[0].SuccessHost != r.host(1) || list[0].Status != 200 ||
				!strings.Contains(list[0].Error, "InternalError") || list[0].ETag != "e" || list[0].Key != "k" {
				t.Fatalf("records: %+v", list)
			}
			// Nobody has it: the error goes to the client as it is.
			r.stores[1].Behave(behaviour)
			a = client.Do(copyRequest)
			wantStatus(t, a, 200)
			if string(a.Body) != string(behaviour.Body) && !strings.HasSuffix(string(a.Body), string(behaviour.Body)) {
				t.Fatalf("body is %.200q", a.Body)
			}
			if got := r.settled(); len(got) != 1 {
				t.Fatalf("recorded: %+v", got[1:])
			}
		})
	}
}

func TestR25MultipartErrorsInA200(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3)
	id, owner := r.initiate("/b/k")
	for _, s := range r.stores {
		s.Put("/b/src", []byte("source"))
	}
	partCopy := "PUT /b/k?partNumber=1&uploadId=" + id + " HTTP/1.1\r\nHost: s3.test\r\nx-amz-copy-source: /b/src\r\nContent-Length: 0\r\n\r\n"
	r.stores[owner].BehaveNext(stub.ErrorIn200("SlowDown"))
	a := r.dial().Do(partCopy)
	wantStatus(t, a, 200)
	if !strings.Contains(string(a.Body), "<Code>SlowDown</Code>") {
		t.Fatalf("body %q", a.Body)
	}
	wantStatus(t, r.dial().Do(partCopy), 200)
	r.stores[owner].BehaveNext(stub.ErrorIn200("InternalError"))
	complete := completeRequest("/b/k", id, etagOf("source"))
	a = r.dial().Do(complete)
	wantStatus(t, a, 200)
	if !strings.Contains(string(a.Body), "<Code>InternalError</Code>") {
		t.Fatalf("body %q", a.Body)
	}
	r.wantNoRecords()
	r.stores[owner].BehaveNext(stub.Behaviour{Spaces: 10})
	wantStatus(t, r.dial().Do(complete), 200)
	r.wantCompletion(owner, "/b/k", id, "k", 0)
	for i, s := range r.stores {
		if i != owner && s.Counts().Conns > 0 {
			t.Errorf("storage %d was asked", i)
		}
	}
}

// A copy that is cut short before its document is no success either.
func TestR25CopyCutShort(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	for _, s := range r.stores {
		s.Put("/b/src", []byte("source"))
	}
	r.stores[0].Behave(stub.Behaviour{Spaces: 3, Cut: stub.CutClose, CutAt: 0})
	request := "PUT /b/k HTTP/1.1\r\nHost: s3.test\r\nx-amz-copy-source: /b/src\r\nContent-Length: 0\r\n\r\n"
	wantStatus(t, r.dial().Do(request), 200)
	if list := r.settled(); len(list) != 1 || list[0].FailedHost != r.host(0) {
		t.Fatalf("records: %+v", list)
	}
	r.stores[1].Down()
	wantStatus(t, r.dial().Do(request), 503)
}

// Parts and objects of every size around that of the ring, and a head that just
// fills it, from a client that sends everything at once.
func TestR1RingSmallerThanTheMessage(t *testing.T) {
	t.Parallel()
	for _, ringSize := range []int{16 << 10, 64 << 10, 256 << 10} {
		r := newRig(t, 2, func(o *Options, _ *limiter.Options) { o.RingSize, o.MaxHeaderSize = ringSize, 32<<10 })
		id, owner := r.initiate("/b/k")
		for n, size := range []int{1, ringSize / 2, ringSize - 1000, ringSize, ringSize + 1, 3*ringSize + 7, 70 << 10, 2 << 20} {
			body := pattern(size)
			r.uploadPart("/b/k", id, n+1, body)
			path := fmt.Sprintf("/b/%d", size)
			wantStatus(t, r.put(path, body), 200)
			r.settled()
			r.wantAllStored(path, body)
		}
		for _, size := range []int{1 << 10, 80 << 10} {
			const padded = 16 << 10
			head, body, _ := strings.Cut(putRequest("/b/head", pattern(size)), "\r\n\r\n")
			head += "\r\nX-Pad: "
			head += strings.Repeat("x", padded-len(head)-4) + "\r\n\r\n"
			wantStatus(t, r.dial().Do(head+body), 200)
			r.settled()
			wantStored(t, r.stores[1-owner], "/b/head", body)
			if got := r.stores[0].Requests(); len(got[len(got)-1].RawHead) != padded {
				t.Fatalf("the head has %d bytes", len(got[len(got)-1].RawHead))
			}
		}
		if d := r.records.list(); len(d) > 0 {
			t.Fatalf("recorded: %+v", d)
		}
	}
}

// An upload that nobody knows who could be asked may be known to a backend that
// could not: the client is told to try again, not that the upload is gone.
func TestR26OwnerOfAnUnknownUploadIsOut(t *testing.T) {
	t.Parallel()
	for name, out := range map[string]func(r *rig, owner int){
		"maintained": func(r *rig, owner int) { r.limiter.SetMaintained(owner, true) },
		"down":       func(r *rig, owner int) { r.stores[owner].Down() },
	} {
		t.Run(name, func(t *testing.T) {
			before := newRig(t, 2)
			id, owner := before.initiate("/b/k")
			before.settled()
			r := newRigOn(t, before.stores) // as after a restart
			out(r, owner)
			wantXMLError(t, r.dial().Do(requestFor("GET", "/b/k?uploadId="+url.QueryEscape(id))), 503)
			r.settled()
		})
	}
	r := newRig(t, 2)
	wantStatus(t, r.dial().Do(requestFor("GET", "/b/k?uploadId=nobodys")), 404)
}
