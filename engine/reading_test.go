package engine

import (
	"fmt"
	"testing"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/limiter"
)

func recordReads(o *Options, _ *limiter.Options) { o.RecordReads = true }

func TestR17MissingObjectIsRecorded(t *testing.T) {
	t.Parallel()
	const path = "/b/a%20key?x=7"
	ok := stub.Behaviour{Status: 200, Headers: stub.H("ETag", `"e1"`), Body: []byte("here")}
	missing := stub.Fails(404)
	tests := []struct {
		name    string
		stores  []stub.Behaviour
		target  string
		records []int // who is missing it
		status  int
		off     bool
	}{
		{name: "one", stores: []stub.Behaviour{ok, missing}, records: []int{1}, status: 200},
		{name: "the first one", stores: []stub.Behaviour{missing, ok}, records: []int{0}, status: 200},
		{name: "two of three", stores: []stub.Behaviour{missing, ok, missing}, records: []int{0, 2}, status: 200},
		{name: "partial content", stores: []stub.Behaviour{{Status: 206, Body: []byte("er")}, missing}, records: []int{1}, status: 206},
		{name: "not modified", stores: []stub.Behaviour{{Status: 304, Body: []byte{}}, missing}, records: []int{1}, status: 304},
		{name: "moved", stores: []stub.Behaviour{{Status: 301, Body: []byte{}}, {Status: 301, Body: []byte{}}}, status: 301},
		{name: "one moved", stores: []stub.Behaviour{{Status: 307, Body: []byte{}}, ok}, status: 200},
		{name: "everywhere", stores: []stub.Behaviour{missing, missing}, status: 404},
		{name: "nowhere to be read", stores: []stub.Behaviour{missing, stub.Fails(503)}},
		{name: "forbidden", stores: []stub.Behaviour{ok, stub.Fails(403)}, status: 200},
		{name: "gone wrong", stores: []stub.Behaviour{ok, stub.Fails(500)}, status: 200},
		{name: "no answer", stores: []stub.Behaviour{ok, {Cut: stub.CutClose, CutAt: stub.NoAnswer}}, status: 200},
		{name: "chunked", stores: []stub.Behaviour{{Status: 200, Chunked: true, Body: []byte("here")}, {Status: 404, Chunked: true}}, records: []int{1}, status: 200},
		{name: "not recorded", stores: []stub.Behaviour{ok, missing}, status: 200, off: true},
		{name: "a part list", target: "/b/k?uploadId=u", stores: []stub.Behaviour{ok, missing}, status: 200},
	}
	for _, tt := range tests {
		for _, method := range []string{"GET", "HEAD"} {
			t.Run(tt.name+" "+method, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, len(tt.stores), func(o *Options, _ *limiter.Options) { o.RecordReads = !tt.off })
				for i, b := range tt.stores {
					r.stores[i].Behave(b)
				}
				target := tt.target
				if target == "" {
					target = path
				}
				client := r.dial()
				client.Send(method + " " + target + " HTTP/1.1\r\nHost: s3.test\r\nUser-Agent: ua\r\n\r\n")
				a, err := client.ReadAnswerTo(method)
				if err != nil || tt.status != 0 && a.Status != tt.status {
					t.Fatal(a, err)
				}
				list := r.settled()
				if len(list) != len(tt.records) {
					t.Fatalf("%d records, want %d: %+v", len(list), len(tt.records), list)
				}
				for i, d := range list {
					winner := -1
					for s := range tt.stores {
						if d.SuccessHost == r.host(s) && tt.stores[s].Status < 400 {
							winner = s
						}
					}
					if winner < 0 {
						t.Fatalf("success at %q", d.SuccessHost)
					}
					r.wantRecord(d, Divergence{
						Method: method, Path: target, FailedHost: r.host(tt.records[i]), SuccessHost: d.SuccessHost,
						UserAgent: "ua", Error: "answered 404", Op: OpReading, Status: 404, Bucket: "b", Key: "a key", ETag: map[bool]string{true: "e1"}[len(tt.stores[winner].Headers) > 0],
					})
				}
			})
		}
	}
}

// The 404 may come before the good answer or long after it, while that one is
// still on its way to the client or when it is long there.
func TestR17WhicheverComesFirst(t *testing.T) {
	t.Parallel()
	for _, size := range []int{10, 1 << 20} {
		for late := range 2 {
			t.Run(fmt.Sprintf("%d bytes, storage %d late", size, late), func(t *testing.T) {
				r := newRig(t, 2, recordReads)
				r.stores[0].Put("/b/k", []byte(pattern(size)))
				gate := make(chan struct{})
				r.stores[late].Behave(stub.Behaviour{Gate: gate})
				client := r.dial()
				client.Send(requestFor("GET", "/b/k"))
				if late == 0 {
					r.stores[1].WaitDone(t, 1)
					close(gate)
				}
				a, err := client.ReadAnswer()
				if err != nil || a.Status != 200 || len(a.Body) != size {
					t.Fatal(a, err)
				}
				if late == 1 {
					r.stores[1].Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
					close(gate)
				}
				list := r.settled()
				if len(list) != 1 || list[0].FailedHost != r.host(1) || list[0].Op != OpReading {
					t.Fatalf("records: %+v", list)
				}
			})
		}
	}
}

// A storage that was not asked is not said to miss anything.
func TestR17SkippedBackendIsNotMissingIt(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3, recordReads, func(_ *Options, lo *limiter.Options) { lo.Maintained = 0b10; lo.FailureLimit = 1 })
	r.limiter.Failed(2, 0)
	r.stores[0].Put("/b/k", []byte("x"))
	wantStatus(t, r.dial().Do(requestFor("GET", "/b/k")), 200)
	r.wantNoRecords()
}
