package engine

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/limiter"
)

// wantRecord compares every field of a record but Time and ID, which are looked
// at by themselves.
func (r *rig) wantRecord(got, want Divergence) {
	r.t.Helper()
	if age := time.Since(got.Time); age < 0 || age > time.Minute {
		r.t.Errorf("recorded at %v", got.Time)
	}
	r.log.mu.Lock()
	lines, expected := 0, 0
	for _, a := range r.log.access {
		if a.ID == got.ID && a.Path == got.Path && a.Method == got.Method {
			lines++
		}
	}
	r.log.mu.Unlock()
	if r.log.logsAccess {
		expected = 1
	}
	if got.ID == "" || lines != expected {
		r.t.Errorf("id %q is %d times in the access log", got.ID, lines)
	}
	got.Time, got.ID = want.Time, want.ID
	if got != want {
		r.t.Errorf("record is\n%+v, want\n%+v", got, want)
	}
}

func etagOf(body string) string {
	sum := md5.Sum([]byte(body))
	return hex.EncodeToString(sum[:])
}

// One storage takes a write, another one does not, for every reason there is.
func TestR15EveryReasonIsRecorded(t *testing.T) {
	t.Parallel()
	large := pattern(2 << 20)
	const once = 200 * time.Millisecond
	tests := []struct {
		name      string
		setup     setup
		times     func(time.Duration) setup
		behaviour stub.Behaviour
		prepare   func(*rig)
		body      string
		error     string // in the record
		status    int
	}{
		{name: "maintained", setup: func(_ *Options, lo *limiter.Options) { lo.Maintained = 0b10 }, error: "maintained"},
		{
			name: "demoted", setup: func(_ *Options, lo *limiter.Options) { lo.FailureLimit = 1 },
			prepare: func(r *rig) { r.limiter.Failed(1, 0) }, error: "demoted",
		},
		{name: "dead", prepare: func(r *rig) { r.stores[1].Down() }, error: "cannot connect to backend"},
		{name: "resets each connection", prepare: func(r *rig) { r.stores[1].RefuseAccept(true) }, error: ""},
		{name: "500", behaviour: stub.Fails(500), error: "answered 500", status: 500},
		{name: "503", behaviour: stub.Fails(503), error: "answered 503", status: 503},
		{name: "403", behaviour: stub.Fails(403), error: "answered 403", status: 403},
		{name: "301", behaviour: stub.Fails(301), error: "answered 301", status: 301},
		{name: "chunked 500", behaviour: stub.Behaviour{Status: 500, Chunked: true}, error: "answered 500", status: 500},
		{
			name: "403 in mid-body", body: large, error: "answered 403", status: 403,
			behaviour: stub.Behaviour{During: stub.AnswerAndClose, After: 1000},
		},
		{
			name: "403, then reads no further", body: large, error: "answered 403", status: 403,
			behaviour: stub.Behaviour{During: stub.AnswerAndStop, After: 1000},
		},
		{
			name: "closes without an answer", error: "connection closed before the answer's end",
			behaviour: stub.Behaviour{Cut: stub.CutClose, CutAt: stub.NoAnswer, Store: stub.StoreNever},
		},
		{
			name: "stores, but closes without an answer", error: "connection closed before the answer's end",
			behaviour: stub.Behaviour{Cut: stub.CutClose, CutAt: stub.NoAnswer},
		},
		{
			name: "closes in its head", error: "connection closed before the answer's end",
			behaviour: stub.Behaviour{Cut: stub.CutClose, CutAt: stub.MidHead},
		},
		{name: "resets in its head", error: "", behaviour: stub.Behaviour{Cut: stub.CutReset, CutAt: stub.MidHead}},
		{name: "no HTTP", error: "malformed answer", behaviour: stub.Behaviour{Raw: []byte("220 smtp.test ESMTP\r\n\r\n")}},
		{name: "switches protocols", error: "malformed answer", behaviour: stub.Behaviour{Raw: []byte("HTTP/1.1 101 S\r\n\r\n")}},
		{
			// Of more than the buffers on the way hold: else it could have had it.
			name: "success in mid-body", body: pattern(20 << 20), error: "answered 200 before it had the whole body", status: 200,
			behaviour: stub.Behaviour{During: stub.AnswerAndClose, After: 1000, Status: 200},
		},
		{name: "closes in mid-body", body: large, error: "", behaviour: stub.Behaviour{During: stub.CloseThere, After: 1000}},
		{name: "resets in mid-body", body: large, error: "", behaviour: stub.Behaviour{During: stub.ResetThere, After: 1000}},
		{name: "never answers", times: withConnectionTimeout, error: "timeout", behaviour: stub.Behaviour{HangAfterBody: true, Store: stub.StoreNever}},
		{
			name: "takes no more", times: withStallTimeout, body: pattern(20 << 20), error: "stalled",
			behaviour: stub.Behaviour{During: stub.HangThere, After: 1000},
		},
	}
	const target = "/bucket/a%20b%2Fc+d/%C3%BC//../x?x-id=PutObject&x=%20"
	for _, tt := range tests {
		for _, method := range []string{"PUT", "POST", "DELETE"} {
			if tt.body != "" && method == "DELETE" {
				continue
			}
			slowlyBeside(t, tt.name+" "+method, once, func(t testing.TB, unit time.Duration) {
				body := tt.body
				if body == "" && method != "DELETE" {
					body = "hello"
				}
				setups := []setup{logged}
				if tt.setup != nil {
					setups = append(setups, tt.setup)
				}
				if tt.times != nil {
					setups = append(setups, tt.times(unit))
				}
				r := newRig(t, 2, setups...)
				r.stores[1].Behave(tt.behaviour)
				if tt.prepare != nil {
					tt.prepare(r)
				}
				head := method + " " + target + " HTTP/1.1\r\nHost: s3.test\r\nUser-Agent: aws \"cli\"/2 ü\r\n"
				if body != "" {
					head += fmt.Sprintf("Content-Length: %d\r\n", len(body))
				}
				client := r.dial()
				client.Send(head + "\r\n" + body)
				a, err := client.ReadAnswerTo(method)
				if err != nil || a.Status/100 != 2 {
					t.Fatal(a, err)
				}
				want := Divergence{
					Method: method, Path: target, FailedHost: r.host(1), SuccessHost: r.host(0),
					UserAgent: "aws \"cli\"/2 ü", Op: OpStoring, Status: tt.status,
					Bucket: "bucket", Key: "a b/c+d/ü//../x", Size: int64(len(body)),
				}
				if method == "PUT" {
					want.ETag = etagOf(body)
				}
				list := r.settled()
				if len(list) != 1 {
					t.Fatalf("%d records, want 1: %+v", len(list), list)
				}
				if !strings.Contains(list[0].Error, tt.error) || list[0].Error == "" {
					t.Errorf("error is %q, want %q", list[0].Error, tt.error)
				}
				want.Error = list[0].Error
				r.wantRecord(list[0], want)
				if tt.name == "maintained" && r.stores[1].Counts().Conns != 0 {
					t.Error("a maintained backend got something (R14)")
				}
			})
		}
	}
}

// Of four storages one takes the write, and each other one has its own reason.
func TestR15OneRecordForEachThatDidNotTakeIt(t *testing.T) {
	t.Parallel()
	r := newRig(t, 4, func(_ *Options, lo *limiter.Options) { lo.Maintained = 0b1; lo.FailureLimit = 1 })
	r.stores[1].Behave(stub.Fails(507))
	r.limiter.Failed(3, 0)
	wantStatus(t, r.put("/b/k", "x"), 200)
	got := map[string]string{}
	for _, d := range r.settled() {
		if d.SuccessHost != r.host(2) {
			t.Errorf("success at %s", d.SuccessHost)
		}
		got[d.FailedHost] = fmt.Sprint(d.Error, " ", d.Status)
	}
	want := map[string]string{r.host(0): "maintained 0", r.host(1): "answered 507 507", r.host(3): "demoted 0"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("records %v, want %v", got, want)
	}
}

// The length that counts for a signed, streamed upload is the object's own.
func TestR16SizeOfASignedChunkedUpload(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.stores[1].Behave(stub.Fails(500))
	wantStatus(t, r.dial().Do("PUT /b/k HTTP/1.1\r\nHost: s3.test\r\nContent-Encoding: aws-chunked\r\n"+
		"X-Amz-Decoded-Content-Length: 5\r\nContent-Length: 12\r\n\r\n5;sig\r\nhello"), 200)
	list := r.settled()
	if len(list) != 1 || list[0].Size != 5 {
		t.Fatalf("records: %+v", list)
	}
	wantStatus(t, r.dial().Do("PUT /b/k HTTP/1.1\r\nHost: s3.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), 200)
	if list = r.settled(); len(list) != 2 || list[1].Size != 5 {
		t.Fatalf("records: %+v", list)
	}
}

func TestR16NoRecordWithoutAPositive(t *testing.T) {
	t.Parallel()
	never := stub.Behaviour{Cut: stub.CutClose, CutAt: stub.NoAnswer, Store: stub.StoreNever}
	tests := []struct {
		name   string
		first  stub.Behaviour
		second stub.Behaviour
		status int
	}{
		{"both refuse", stub.Fails(403), stub.Fails(403), 403},
		{"differently", stub.Fails(403), stub.Fails(403), 403},
		{"one dies", stub.Fails(412), never, 412},
		{"both die", never, never, 503},
		{"redirects", stub.Fails(307), stub.Fails(307), 307},
	}
	for _, tt := range tests {
		for _, method := range []string{"PUT", "POST", "DELETE"} {
			t.Run(tt.name+" "+method, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, 3, func(o *Options, lo *limiter.Options) { lo.Maintained = 0b100; o.RecordReads = true })
				r.stores[0].Behave(tt.first)
				r.stores[1].Behave(tt.second)
				wantStatus(t, r.dial().Do(method+" /b/k HTTP/1.1\r\nHost: s3.test\r\nContent-Length: 1\r\n\r\nx"), tt.status)
				r.wantNoRecords()
			})
		}
	}
}

func TestR14MaintainedBackendGetsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, func(o *Options, lo *limiter.Options) { lo.Maintained = 0b10; o.WriteAck = AckAll; o.RecordReads = true })
	r.probing()
	client := r.dial()
	wantStatus(t, client.Do(putRequest("/b/k", "x")), 200)
	for _, method := range []string{"GET", "OPTIONS", "DELETE"} {
		client.Do(requestFor(method, "/b/k"))
	}
	for i := range 8 { // wherever their keys would belong
		client.Do(fmt.Sprintf("POST /b/k%d?uploads HTTP/1.1\r\nHost: s3.test\r\nContent-Length: 0\r\n\r\n", i))
	}
	client.Do(deleteRequestOf("k"))
	list := r.settled()
	if r.stores[1].Counts().Conns != 0 {
		t.Fatal("the maintained backend got something")
	}
	if len(list) != 3 { // PUT, DELETE, multi-object DELETE
		t.Fatalf("%d records: %+v", len(list), list)
	}
	for _, d := range list {
		if d.Error != "maintained" || d.FailedHost != r.host(1) {
			t.Errorf("record %+v", d)
		}
	}
	r.limiter.SetMaintained(0, true)
	wantStatus(t, client.Do(putRequest("/b/k", "x")), 503)
	r.limiter.SetMaintained(1, false)
	wantStatus(t, r.put("/b/k2", "x"), 200)
	wantStored(t, r.stores[1], "/b/k2", "x")
}

// A write that fails for the client because too few took it was stored all the
// same by some (R3).
func TestR3StoredWithoutEnoughAcksIsADivergence(t *testing.T) {
	t.Parallel()
	for _, ack := range []string{AckQuorum, AckAll} {
		t.Run(ack, func(t *testing.T) {
			r := newRig(t, 3, func(o *Options, _ *limiter.Options) { o.WriteAck = ack })
			r.stores[1].Behave(stub.Fails(500))
			r.stores[2].Down()
			wantStatus(t, r.put("/b/k", "x"), 500)
			list := r.settled()
			if len(list) != 2 || list[0].SuccessHost != r.host(0) || list[1].SuccessHost != r.host(0) {
				t.Fatalf("records: %+v", list)
			}
			wantStored(t, r.stores[0], "/b/k", "x")
		})
	}
}

// What S3 answers says how an object was encrypted.
const (
	sseC   = "x-amz-server-side-encryption-customer-algorithm: AES256"
	sseKMS = "x-amz-server-side-encryption: aws:kms"
	sseS3  = "x-amz-server-side-encryption: AES256"
)

func TestR18ETags(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name          string
		request       string
		first, second string
		encrypted     [2]string // further header fields of their answers
		off           bool
		want          string // the record's ETag; "" for no record
	}{
		{name: "the same", first: `"abc"`, second: `"abc"`},
		{name: "SSE-C", first: `"abc"`, second: `"abd"`, encrypted: [2]string{sseC, sseC}},
		{name: "SSE-KMS", first: `"abc"`, second: `"abd"`, encrypted: [2]string{sseKMS, sseKMS + ":dsse"}},
		{name: "one has ignored SSE-C", first: `"abc"`, second: `"abd"`, encrypted: [2]string{sseC}, want: "abc"},
		{name: "SSE-S3", first: `"abc"`, second: `"abd"`, encrypted: [2]string{sseS3, sseS3}, want: "abc"},
		{name: "different", first: `"abc"`, second: `"abd"`, want: "abc"},
		{name: "of different length", first: `"abc"`, second: `"abc-2"`, want: "abc"},
		{name: "quoted and not", first: `"abc"`, second: `abc`},
		{name: "another case", first: `"ABC"`, second: `"abc"`},
		{name: "unquoted, another case", first: `aBc`, second: `"AbC"`},
		{name: "one has none", first: `"abc"`, second: ``},
		{name: "the other has none", first: ``, second: `"abc"`},
		{name: "switched off", first: `"abc"`, second: `"abd"`, off: true},
		{name: "a subresource", request: putRequest("/b/k?acl", "x"), first: `"abc"`, second: `"abd"`},
		{name: "tagging", request: putRequest("/b/k?tagging", "x"), first: `"abc"`, second: `"abd"`},
		{name: "no subresource", request: putRequest("/b/k?x-id=PutObject", "x"), first: `"abc"`, second: `"abd"`, want: "abc"},
		{name: "a bucket", request: putRequest("/b", "x"), first: `"abc"`, second: `"abd"`},
		{name: "a bucket with a slash", request: putRequest("/b/", "x"), first: `"abc"`, second: `"abd"`},
		{name: "DELETE", request: requestFor("DELETE", "/b/k"), first: `"abc"`, second: `"abd"`},
		{name: "GET", request: requestFor("GET", "/b"), first: `"abc"`, second: `"abd"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, 2, func(o *Options, _ *limiter.Options) { o.CompareETags, o.RecordReads = !tt.off, true })
			for i, etag := range []string{tt.first, tt.second} {
				b := stub.Behaviour{Status: 200, Headers: stub.H("ETag", etag)}
				if name, value, ok := strings.Cut(tt.encrypted[i], ": "); ok {
					b.Headers = stub.H("ETag", etag, name, value)
				}
				if etag == "" {
					b = stub.Behaviour{Raw: []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")}
				}
				r.stores[i].Behave(b)
			}
			request := tt.request
			if request == "" {
				request = putRequest("/b/k", "x")
			}
			r.dial().Do(request)
			list := r.settled()
			if tt.want == "" {
				if len(list) > 0 {
					t.Fatalf("recorded: %+v", list)
				}
				return
			}
			if len(list) != 1 {
				t.Fatalf("records: %+v", list)
			}
			d := list[0]
			winner, loser := 0, 1
			if d.SuccessHost == r.host(1) {
				winner, loser = 1, 0
			}
			want := strings.Trim([]string{tt.first, tt.second}[winner], `"`)
			if d.Error != "etag mismatch" || d.Status != 200 || d.FailedHost != r.host(loser) || d.ETag != want || d.Op != OpStoring {
				t.Fatalf("record %+v", d)
			}
		})
	}
}

// Of three, the one that differs from the first is named, and each of two.
func TestR18EachThatDiffers(t *testing.T) {
	t.Parallel()
	raw := func(etag string) stub.Behaviour {
		return stub.Behaviour{Status: 200, Headers: stub.H("ETag", etag)}
	}
	r := newRig(t, 3)
	release := make(chan struct{})
	r.stores[0].Behave(raw(`"a"`))
	for i, etag := range []string{`"b"`, `"A"`} {
		b := raw(etag)
		b.Gate = release
		r.stores[i+1].Behave(b)
	}
	wantStatus(t, r.put("/b/k", "x"), 200)
	close(release)
	list := r.settled()
	if len(list) != 1 || list[0].FailedHost != r.host(1) || list[0].SuccessHost != r.host(0) || list[0].ETag != "a" {
		t.Fatalf("records: %+v", list)
	}
}

// A storage that gives no ETag is first: the other two still disagree.
func TestR18FirstWithoutETag(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3)
	release := make(chan struct{})
	r.stores[0].Behave(stub.Behaviour{Raw: []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")})
	r.stores[1].Behave(stub.Behaviour{Status: 200, Headers: stub.H("ETag", `"a"`), Gate: release})
	r.stores[2].Behave(stub.Behaviour{Status: 200, Headers: stub.H("ETag", `"b"`), Gate: release})
	wantStatus(t, r.put("/b/k", "x"), 200)
	close(release)
	if list := r.settled(); len(list) != 1 || list[0].Error != "etag mismatch" {
		t.Fatalf("records: %+v", list)
	}
}

// The ETag of a copy stands in its answer's body.
func TestR18CopiesThatDiffer(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.stores[0].Put("/b/from", []byte("one"))
	r.stores[1].Put("/b/from", []byte("another"))
	request := "PUT /b/to HTTP/1.1\r\nHost: s3.test\r\nx-amz-copy-source: /b/from\r\nContent-Length: 0\r\n\r\n"
	wantStatus(t, r.dial().Do(request), 200)
	list := r.settled()
	if len(list) != 1 || list[0].Error != "etag mismatch" || (list[0].ETag != etagOf("one") && list[0].ETag != etagOf("another")) {
		t.Fatalf("records: %+v", list)
	}
	r.stores[1].Put("/b/from", []byte("one"))
	wantStatus(t, r.dial().Do(request), 200)
	if list = r.settled(); len(list) != 1 {
		t.Fatalf("recorded: %+v", list[1:])
	}
}
