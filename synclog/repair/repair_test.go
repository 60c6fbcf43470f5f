package repair

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is some storages, a journal and a repairer.
type world struct {
	t      *testing.T
	stores []*fake
	q      *queue
	log    *testLog
	o      Options
	done   []string // what OnResolved said
}

func newWorld(t *testing.T, n int) *world {
	t.Helper()
	w := &world{t: t, q: newQueue(), log: &testLog{t: t}}
	for range n {
		w.stores = append(w.stores, newFake(t, "b"))
	}
	w.o = Options{
		Journal: w.q, Log: w.log, Timeout: 20 * time.Second, DialTimeout: testkit.Patience, Concurrency: 1,
		// What fails is not to be tried again by the same RunOnce.
		RetryBase: 10000 * time.Hour, RetryMax: 10000 * time.Hour,
		OnResolved: func(task task.Task, action string) { w.done = append(w.done, task.Key+": "+action) },
	}
	for _, s := range w.stores {
		w.o.Backends = append(w.o.Backends, s.backend())
		w.q.names = append(w.q.names, s.name)
	}
	return w
}

// wrote journals a PUT, acknowledged a minute ago, that these backends lack.
func (w *world) wrote(key, etag string, owed ...int) flat {
	return w.did("PUT", key, etag, "", owed...)
}

func (w *world) deleted(key string, owed ...int) flat { return w.did("DELETE", key, "", "", owed...) }

func (w *world) did(method, key, etag, query string, owed ...int) flat {
	seq := uint64(time.Now().Add(-time.Minute).UnixNano())
	t := flat{Seq: seq, First: seq, Settled: seq, Method: method, Bucket: "b", Key: key, ETag: etag, Target: "/b/" + key + query}
	for _, i := range owed {
		t.Owed = append(t.Owed, w.stores[i].name)
	}
	w.q.push(t)
	return t
}

func (w *world) repairer() *Repairer {
	w.t.Helper()
	r, err := New(w.o)
	testkit.MustDo(w.t, err)
	return r
}

func (w *world) once() Summary {
	w.t.Helper()
	return mustRun(w.t, w.repairer())
}

// mustRun repairs all that is pending, once.
func mustRun(t testing.TB, r *Repairer) Summary {
	t.Helper()
	sum, err := r.RunOnce(t.Context())
	testkit.MustDo(t, err)
	return sum
}

// mustResolve repairs, and wants nothing to be left.
func (w *world) mustResolve() Summary {
	w.t.Helper()
	sum := w.once()
	if left := w.q.left(); len(left) > 0 {
		w.t.Fatalf("left: %+v\n%+v", left, sum)
	}
	return sum
}

// mustPark repairs, and wants a key to be parked for this reason.
func (w *world) mustPark(key string, reason task.ParkReason) flat {
	w.t.Helper()
	w.once()
	for _, f := range w.q.left() {
		if f.Key == key {
			if f.Parked != reason {
				w.t.Fatalf("%q is parked for %q, want %q: %s", key, f.Parked, reason, f.LastError)
			}
			return f
		}
	}
	w.t.Fatalf("%q is not pending any more, want it parked: %s; %q", key, reason, w.done)
	return flat{}
}

// mustEqual wants the same object everywhere, or nowhere.
func (w *world) mustEqual(key string) *fakeObject {
	w.t.Helper()
	first, ok := w.stores[0].get("b", key)
	for i, s := range w.stores[1:] {
		o, has := s.get("b", key)
		switch {
		case has != ok:
			w.t.Fatalf("%q: store 0 has it: %t, store %d: %t", key, ok, i+1, has)
		case !bytes.Equal(o.body, first.body):
			w.t.Fatalf("%q: store %d has %d bytes, store 0 has %d, or other ones", key, i+1, len(o.body), len(first.body))
		case !s.quirks.opaqueETags && !w.stores[0].quirks.opaqueETags && o.etag != first.etag:
			w.t.Fatalf("%q: store %d has ETag %s, store 0 has %s", key, i+1, o.etag, first.etag)
		}
		if ok && s.quirks.dropHeader == "" && !s.quirks.refuseClass {
			mine, its := (&object{header: first.header}).meta(time.Now()), (&object{header: o.header}).meta(time.Now())
			if mine != its {
				w.t.Fatalf("%q: store %d has headers %v, store 0 has %v", key, i+1, o.header, first.header)
			}
		}
	}
	if !ok {
		return nil
	}
	return &first
}

func TestRepairsMissingObject(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 4096, smallObject, smallObject + 1, 3 << 20} {
		w := newWorld(t, 3)
		body := strings.Repeat("x", size)
		o := w.stores[1].put("b", "a/key", body, time.Minute, "Content-Type", "text/plain", "Cache-Control", "no-store",
			"Content-Encoding", "gzip", "Content-Language", "de", "Content-Disposition", "inline", "Expires", "Thu, 01 Dec 2033 16:00:00 GMT",
			"x-amz-meta-Colour", "blau und grün", "x-amz-meta-two", "a  b", "X-Amz-Storage-Class", "STANDARD_IA",
			"X-Amz-Website-Redirect-Location", "/there")
		w.wrote("a/key", o.etag, 0, 2)
		sum := w.mustResolve()
		got := w.mustEqual("a/key")
		if got == nil || string(got.body) != body || len(got.header) != 10 {
			t.Fatalf("%d bytes: got %+v", size, got)
		}
		if sum.Copied != 2 || sum.Resolved != 1 || sum.Seen != 1 || sum.Bytes != int64(2*size) {
			t.Errorf("%d bytes: %+v", size, sum)
		}
	}
}

func TestRepairsByState(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	a, b := w.stores[0], w.stores[1]
	v2 := a.put("b", "older", "v2", time.Minute)
	b.put("b", "older", "v1", time.Hour)
	w.wrote("older", v2.etag, 1)

	b.put("b", "deleted", "v1", time.Hour)
	w.deleted("deleted", 1)

	a.put("b", "equal", "v1", time.Hour)
	w.wrote("equal", b.put("b", "equal", "v1", time.Hour).etag, 0)

	b.put("b", "made again", "v3", time.Second)
	w.deleted("made again", 1)

	a.put("b", "newer", "v9", time.Second)
	w.wrote("newer", b.put("b", "newer", "v8", time.Minute).etag, 0)

	a.put("b", "metadata", "same", time.Hour, "x-amz-meta-m", "old")
	w.wrote("metadata", b.put("b", "metadata", "same", time.Minute, "x-amz-meta-m", "new").etag, 0)

	sum := w.mustResolve()
	for key, want := range map[string]string{
		"older": "v2", "deleted": "", "equal": "v1", "made again": "", "newer": "v8", "metadata": "same",
	} {
		o := w.mustEqual(key)
		if (o == nil) != (want == "") || o != nil && string(o.body) != want {
			t.Errorf("%q: got %v, want %q", key, o, want)
		}
	}
	if o := w.mustEqual("metadata"); o.header.Get("x-amz-meta-m") != "new" {
		t.Errorf("metadata: %v", o.header)
	}
	if sum.Resolved != 6 || sum.Equal != 1 || sum.Deleted != 2 || sum.Copied != 3 {
		t.Errorf("%+v: %q", sum, w.done)
	}
}

func TestClocksThatDiffer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	a, b := w.stores[0], w.stores[1]
	a.offset, b.offset = 40*time.Minute, -40*time.Minute
	// By their own clocks a's is younger, by an hour.
	a.put("b", "k", "old", 10*time.Minute)
	w.wrote("k", b.put("b", "k", "new", 5*time.Minute).etag, 0)
	// Deleted, though a's clock says that it came after.
	a.put("b", "d", "old", 10*time.Minute)
	w.deleted("d", 0)
	w.mustResolve()
	if o := w.mustEqual("k"); string(o.body) != "new" {
		t.Errorf("got %q", o.body)
	}
	if o := w.mustEqual("d"); o != nil {
		t.Errorf("got %q", o.body)
	}
}

func TestOddKeys(t *testing.T) {
	t.Parallel()
	keys := []string{
		"a//b", "a///", "..", ".", "a/../b", "./a", "../../x", " ", " a ", "a b", "a+b", "a%2Fb", "a%2fb", "a%b", "/lead", "//lead",
		"ümläut", "日本語", "e\u0301", "\xff\xfe", "a\x00b", "a\nb\r", "a\tb", "a?b", "a#b", "a&b=c", "a;b", "a:b", "a\\b", `"quoted"`,
		"<&>", "~", "dir/", strings.Repeat("k", 1024), "a\x7fb", "*", "%", "%%", "%25", "a,b", "@", "'",
	}
	w := newWorld(t, 2)
	for _, key := range keys {
		w.wrote(key, w.stores[0].put("b", key, "body of "+key, time.Minute).etag, 1)
		w.stores[1].put("b", "del"+key, "x", time.Hour)
		w.deleted("del"+key, 1)
	}
	w.mustResolve()
	for _, key := range keys {
		if o := w.mustEqual(key); o == nil || string(o.body) != "body of "+key {
			t.Errorf("%q is not there", key)
		}
		if o := w.mustEqual("del" + key); o != nil {
			t.Errorf("del%q is still there", key)
		}
	}
}

func TestMultipartKeepsETag(t *testing.T) {
	t.Parallel()
	part := strings.Repeat
	for _, c := range []struct {
		name   string
		quirks quirks // of the source
		parts  []string
	}{
		{"by number", quirks{}, []string{part("a", 5<<20), part("b", 7<<20), part("c", 3)}},
		{"one part", quirks{}, []string{"small"}},
		{"empty", quirks{}, []string{""}},
		{"guessed, 8 MiB", quirks{noPartNumber: true}, []string{part("a", 8<<20), part("b", 8<<20), part("c", 3)}},
		{"guessed, 3 MiB", quirks{noPartNumber: true}, []string{part("a", 3<<20), part("b", 2<<20)}},
		{"guessed, one part", quirks{noPartNumber: true}, []string{"small"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, 2)
			w.stores[0].quirks = c.quirks
			o := w.stores[0].putParts("b", "big", c.parts...)
			o.header.Set("X-Amz-Meta-M", "1")
			o.docs["tagging"] = tagDoc("k=v")
			w.wrote("big", o.etag, 1)
			w.mustResolve()
			got := w.mustEqual("big")
			if got.header.Get("X-Amz-Meta-M") != "1" {
				t.Errorf("metadata: %v", got.header)
			}
			if copied, _ := w.stores[1].get("b", "big"); copied.docs["tagging"] != o.docs["tagging"] {
				t.Errorf("tags: %v", copied.docs)
			}
			if n := len(w.stores[1].uploads); n > 0 {
				t.Errorf("%d uploads are left", n)
			}
			if n := w.stores[1].requests("GET") - w.stores[1].requests("?tagging") - w.stores[1].requests("?acl"); n > 0 {
				t.Errorf("content was read again, though the ETags agree")
			}
		})
	}
}

// Where the parts cannot be guessed, or the target does not take them, the ETags
// differ, and the contents are compared.
func TestMultipartWithOtherParts(t *testing.T) {
	t.Parallel()
	for name, q := range map[string][2]quirks{
		"not guessed": {{noPartNumber: true}, {}},
		"too small":   {{}, {minPart: minPart}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2)
			w.stores[0].quirks, w.stores[1].quirks = q[0], q[1]
			o := w.stores[0].putParts("b", "big", strings.Repeat("a", 1000), strings.Repeat("b", 9<<20), "end")
			w.wrote("big", o.etag, 1)
			w.mustResolve()
			got, _ := w.stores[1].get("b", "big")
			if !bytes.Equal(got.body, o.body) || got.etag == o.etag {
				t.Errorf("got %d bytes, ETag %s", len(got.body), got.etag)
			}
			if w.stores[1].requests("GET") == 0 {
				t.Error("the content was not compared")
			}
			if n := len(w.stores[1].uploads); n > 0 {
				t.Errorf("%d uploads are left", n)
			}
		})
	}
}

func TestETagsThatAreNoMD5(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.stores[0].quirks.opaqueETags, w.stores[1].quirks.opaqueETags = true, true
	for i := range 3 {
		key := fmt.Sprint("k", i)
		w.wrote(key, w.stores[0].put("b", key, "body", time.Minute).etag, 1)
	}
	// Equal already: nothing is to be copied, once that is known of them.
	w.stores[0].put("b", "z", "same", time.Hour)
	w.wrote("z", w.stores[1].put("b", "z", "same", time.Hour).etag, 0)
	sum := w.mustResolve()
	for i := range 3 {
		if o := w.mustEqual(fmt.Sprint("k", i)); o == nil {
			t.Error("missing")
		}
	}
	if sum.Copied != 3 || sum.Equal != 1 {
		t.Errorf("%+v: %q", sum, w.done)
	}
}

func TestConditionsNotKnown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.stores[1].quirks = quirks{refuseConditions: true, refuseDeleteIf: true}
	for i := range 3 {
		key := fmt.Sprint("k", i)
		w.wrote(key, w.stores[0].put("b", key, "body", time.Minute).etag, 1)
		w.stores[1].put("b", "d"+key, "x", time.Hour)
		w.deleted("d"+key, 1)
	}
	w.mustResolve()
	for i := range 3 {
		w.mustEqual(fmt.Sprint("k", i))
		w.mustEqual(fmt.Sprint("dk", i))
	}
	if n := w.stores[1].requests("PUT"); n != 4 {
		t.Errorf("%d PUTs, want one in vain and one a key", n)
	}
	if n := w.stores[1].requests("DELETE"); n != 4 {
		t.Errorf("%d DELETEs, want one in vain and one a key", n)
	}
}

func TestStorageClassNotKnown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.stores[1].quirks.refuseClass = true
	w.wrote("k", w.stores[0].put("b", "k", "body", time.Minute, "X-Amz-Storage-Class", "GLACIER_IR").etag, 1)
	w.mustPark("k", task.NotKept)
	if o := w.mustEqual("k"); o == nil {
		t.Error("missing")
	}
}

func TestHeaderNotKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.stores[1].quirks.dropHeader = "Cache-Control"
	for _, key := range []string{"k1", "k2"} {
		w.wrote(key, w.stores[0].put("b", key, "body", time.Minute, "Cache-Control", "no-store").etag, 1)
	}
	w.mustPark("k1", task.NotKept)
	w.mustPark("k2", task.NotKept)
	if n := w.log.count("a backend does not keep what it is given"); n != 1 {
		t.Errorf("it was told %d times", n)
	}
}

func TestMakesMissingBucket(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	delete(w.stores[1].buckets, "b")
	w.wrote("k", w.stores[0].put("b", "k", "body", time.Minute).etag, 1)
	w.mustResolve()
	w.mustEqual("k")
}

func TestTagsAndACLs(t *testing.T) {
	t.Parallel()
	for _, silent := range []bool{false, true} {
		w := newWorld(t, 2)
		a, b := w.stores[0], w.stores[1]
		a.quirks.noTagCount, b.quirks.noTagCount = silent, silent
		o := a.put("b", "k", "body", time.Minute)
		o.docs["tagging"] = tagDoc("two=2&one=1%26")
		o.docs["acl"] = a.cannedDoc("public-read")
		w.wrote("k", o.etag, 1)
		custom := a.put("b", "custom", "body", time.Minute)
		custom.docs["acl"] = strings.ReplaceAll(a.cannedDoc("public-read"), "READ", "READ_ACP")
		w.wrote("custom", custom.etag, 1)
		w.mustResolve()
		got, _ := b.get("b", "k")
		if tags, err := normalTags([]byte(got.docs["tagging"])); err != nil || tags != "one=1%26&two=2" {
			t.Errorf("tags: %q, %v", tags, err)
		}
		if got.docs["acl"] != b.cannedDoc("public-read") {
			t.Errorf("ACL: %q", got.docs["acl"])
		}
		got, _ = b.get("b", "custom")
		normal, err := normalACL([]byte(got.docs["acl"]))
		if want, _ := normalACL([]byte(custom.docs["acl"])); err != nil || normal != want {
			t.Errorf("got ACL %q, want %q, %v", normal, want, err)
		}
		if !strings.Contains(got.docs["acl"], "owner-of-"+b.name) || strings.Contains(got.docs["acl"], a.name) {
			t.Errorf("the owner is not the target's: %s", got.docs["acl"])
		}
	}
}

func TestSubresourceWrites(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	a, b := w.stores[0], w.stores[1]
	for _, s := range w.stores {
		for _, key := range []string{"tagged", "untagged", "acl", "hold"} {
			s.put("b", key, "same", time.Hour)
		}
	}
	b.buckets["b"].objects["tagged"].docs["tagging"] = tagDoc("a=1")
	w.did("PUT", "tagged", "", "?tagging", 0)
	a.buckets["b"].objects["untagged"].docs["tagging"] = tagDoc("a=1")
	w.did("DELETE", "untagged", "", "?tagging", 0)
	b.buckets["b"].objects["acl"].docs["acl"] = b.cannedDoc("public-read")
	w.did("PUT", "acl", "", "?acl", 0)
	a.buckets["b"].objects["hold"].docs["legal-hold"] = "<LegalHold><Status>ON</Status></LegalHold>"
	w.did("PUT", "hold", "", "?legal-hold", 1)
	w.did("POST", "restored", "", "?restore", 1)
	sum := w.mustResolve()
	if got, _ := a.get("b", "tagged"); !strings.Contains(got.docs["tagging"], "<Tag><Key>a</Key><Value>1</Value></Tag>") {
		t.Errorf("tagged: %v", got.docs)
	}
	if got, _ := a.get("b", "untagged"); got.docs["tagging"] != "" {
		t.Errorf("untagged: %v", got.docs)
	}
	if got, _ := a.get("b", "acl"); !strings.Contains(got.docs["acl"], "owner-of-"+a.name) || !strings.Contains(got.docs["acl"], "AllUsers") {
		t.Errorf("acl: %v", got.docs)
	}
	if got, _ := b.get("b", "hold"); !strings.Contains(got.docs["legal-hold"], "ON") {
		t.Errorf("hold: %v", got.docs)
	}
	if n := a.requests("PUT /b/tagged ") + b.requests("PUT /b/hold "); n > 0 || sum.Resolved != 5 || sum.Copied != 4 {
		t.Errorf("objects were copied: %d, %+v, %q", n, sum, w.done)
	}
}

func TestBuckets(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	a, b := w.stores[0], w.stores[1]
	task := func(method, bucket, query string, owed *fake) {
		seq := uint64(time.Now().UnixNano())
		w.q.push(flat{Seq: seq, Settled: seq, Method: method, Bucket: bucket, Target: "/" + bucket + query, Owed: []string{owed.name}})
	}
	a.makeBucket("made")
	task("PUT", "made", "", b)
	b.makeBucket("unmade")
	task("DELETE", "unmade", "/", b)
	b.makeBucket("full")
	b.put("full", "k", "x", time.Hour)
	task("DELETE", "full", "", b)
	for _, s := range w.stores {
		s.makeBucket("equal")
		s.buckets["equal"].docs["policy"] = `{"a": 1, "b": [2]}`
	}
	b.buckets["equal"].docs["policy"] = `{"b":[2],"a":1}`
	task("PUT", "equal", "?policy", b)
	a.buckets["b"].docs["cors"] = "<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>"
	task("PUT", "b", "?cors", b)
	b.buckets["b"].docs["lifecycle"] = "<LifecycleConfiguration><Rule/></LifecycleConfiguration>"
	task("DELETE", "b", "?lifecycle", b)
	task("PUT", "b", "?replication", b)

	sum := w.once()
	if b.buckets["made"] == nil || b.buckets["unmade"] != nil || b.buckets["full"] == nil || a.buckets["full"] != nil {
		t.Errorf("buckets: %v, %v", a.buckets, b.buckets)
	}
	left := map[string]flat{}
	for _, task := range w.q.left() {
		left[task.Target] = task
	}
	if len(left) != 4 || sum.Resolved != 3 || sum.Parked != 3 || sum.Failed != 1 {
		t.Fatalf("%+v, left: %v", sum, left)
	}
	if full := left["/full"]; full.Parked != "" || full.Tries != 1 || !strings.Contains(full.LastError, "BucketNotEmpty") {
		t.Errorf("full: %+v", full)
	}
	for _, target := range []string{"/b?cors", "/b?lifecycle", "/b?replication"} {
		if task := left[target]; task.Parked == "" || !strings.Contains(task.LastError, target[3:]) {
			t.Errorf("%s: %+v", target, task)
		}
	}
	if len(b.buckets["b"].docs["cors"]) > 0 {
		t.Error("copied without being asked to")
	}

	w.o.CopyBucketConfig, w.o.RetryParked = true, true
	w.once()
	if b.buckets["b"].docs["cors"] != a.buckets["b"].docs["cors"] || b.buckets["b"].docs["lifecycle"] != "" {
		t.Errorf("not copied: %v", b.buckets["b"].docs)
	}
	if left := w.q.left(); len(left) != 2 { // the full one, and replication
		t.Errorf("left: %+v", left)
	}
}

func TestDryRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.o.DryRun = true
	w.wrote("k", w.stores[0].put("b", "k", "body", time.Minute).etag, 1)
	w.stores[1].put("b", "d", "x", time.Hour)
	w.deleted("d", 1)
	for _, s := range w.stores {
		s.put("b", "t", "same", time.Hour)
	}
	w.stores[0].buckets["b"].objects["t"].docs["tagging"] = tagDoc("a=1")
	w.did("PUT", "t", "", "?tagging", 1)
	sum := w.once()
	if n := w.stores[1].requests("PUT") + w.stores[1].requests("DELETE"); n > 0 {
		t.Errorf("it has written: %q", w.stores[1].log)
	}
	if len(w.q.left()) != 3 || w.q.notes > 0 || sum.Resolved != 3 {
		t.Errorf("%+v, left %v", sum, w.q.left())
	}
	a, b := w.stores[0].name, w.stores[1].name
	want := []string{
		"k: would copy " + a + " to " + b, "d: would delete from " + b,
		"t: would have copied ?tagging from " + a + " to " + b,
	}
	if fmt.Sprint(w.done) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", w.done, want)
	}
}

func TestChecksumTravels(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.wrote("k", w.stores[0].put("b", "k", "body", time.Minute, "X-Amz-Checksum-Crc32c", "AAAAAA==").etag, 1)
	w.mustResolve()
	if o, _ := w.stores[1].get("b", "k"); o.header.Get("X-Amz-Checksum-Crc32c") != "AAAAAA==" {
		t.Errorf("got %v", o.header)
	}
}

// Some storages give metadata that is no ASCII in another way than it was put.
func TestEncodedMetadata(t *testing.T) {
	t.Parallel()
	const encoded = "=?UTF-8?b?Z3LDvG4=?="
	for server, want := range map[string]string{"MinIO": "grün", "other": encoded} {
		w := newWorld(t, 2)
		w.stores[0].setHook(func(rw http.ResponseWriter, _ *http.Request) bool {
			rw.Header().Set("Server", server)
			return false
		})
		w.wrote("k", w.stores[0].put("b", "k", "x", time.Minute, "x-amz-meta-m", encoded).etag, 1)
		w.mustResolve()
		if o, _ := w.stores[1].get("b", "k"); o.header.Get("x-amz-meta-m") != want {
			t.Errorf("%s: got %q", server, o.header)
		}
		// Both ways are the same.
		w.wrote("k", md5Hex([]byte("x")), 1)
		if sum := w.mustResolve(); sum.Equal != 1 {
			t.Errorf("%s: %+v", server, sum)
		}
	}
	for in, want := range map[string]string{encoded: "grün", "=?x": "=?x", "=?UTF-8?b?DQo=?=": "=?UTF-8?b?DQo=?=", "a": "a"} {
		if got := decodeWords(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
