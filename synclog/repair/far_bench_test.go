package repair

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit/link"
)

// farRate is 100 Mbit/s.
const farRate = 100e6 / 8

// BenchmarkFar brings a backend behind a long, narrow link up to date: objects/s, and the share of the
// link's rate that was content. Delays are of a round trip.
func BenchmarkFar(b *testing.B) {
	for _, trip := range []time.Duration{0, 30 * time.Millisecond, 80 * time.Millisecond} {
		for _, c := range []struct{ n, size int }{{2000, 1 << 10}, {200, 1 << 20}, {2, 256 << 20}} {
			b.Run(fmt.Sprintf("trip=%s/%dx%d", trip, c.n, c.size), func(b *testing.B) {
				for b.Loop() {
					repairFar(b, trip, c.n, c.size)
				}
			})
		}
	}
}

func repairFar(b *testing.B, trip time.Duration, n, size int) {
	near, far := stub.New(b, stub.KeepRequests(0)), stub.New(b, stub.KeepRequests(0), stub.KeepBodies(false))
	url, name := far.URL(), far.Addr()
	if trip > 0 {
		way, err := link.New(far.Addr(), link.Direction{Delay: trip / 2, Rate: farRate}, link.Direction{Delay: trip / 2, Rate: farRate})
		if err != nil {
			b.Fatal(err)
		}
		defer way.Close()
		url, name = "http://"+way.Addr(), way.Addr()
	}
	q := newQueue()
	q.names = []string{near.Addr(), name}
	seq := uint64(time.Now().Add(-time.Hour).UnixNano())
	body := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	for i := range n {
		path := fmt.Sprintf("/b/%08d", i)
		if size > 64<<20 {
			putInParts(b, near, path, body)
		} else {
			near.Put(path, body)
		}
		o, _ := near.Object(path)
		q.tasks = append(q.tasks, &flat{
			Seq: seq + uint64(i), First: seq + uint64(i), Settled: seq, Method: "PUT", Bucket: "b", Key: path[3:],
			ETag: o.ETag, Target: path, Owed: []string{name},
		})
	}
	r, err := New(Options{
		Journal: &benchQueue{queue: q},
		Backends: []Backend{
			{Name: near.Addr(), URL: near.URL(), Credentials: Credentials{AccessKey: "a", SecretKey: "s"}},
			{Name: name, URL: url, Credentials: Credentials{AccessKey: "a", SecretKey: "s"}},
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	begun := time.Now()
	sum, err := r.RunOnce(b.Context())
	took := time.Since(begun).Seconds()
	if err != nil || sum.Resolved != n {
		b.Fatalf("%+v, %v; %s", sum, err, r.Status().LastError)
	}
	b.ReportMetric(float64(n)/took, "objects/s")
	b.ReportMetric(float64(n)*float64(size)/took/farRate*100, "%link")
	near.Close()
	far.Close()
}

// putInParts puts a body in parts of 8 MiB, as clients do by default.
func putInParts(b *testing.B, s *stub.Server, path string, body []byte) {
	b.Helper()
	do := func(method, target string, body []byte) string {
		req, err := http.NewRequestWithContext(b.Context(), method, s.URL()+target, bytes.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		defer res.Body.Close()
		doc, _ := io.ReadAll(res.Body)
		if res.StatusCode != http.StatusOK {
			b.Fatalf("%s %s: %d", method, target, res.StatusCode)
		}
		return string(doc) + res.Header.Get("Etag")
	}
	_, id, _ := strings.Cut(do("POST", path+"?uploads", nil), "<UploadId>")
	id, _, _ = strings.Cut(id, "<")
	const part = 8 << 20
	var done strings.Builder
	for n := 1; len(body) > 0; n++ {
		p := body[:min(part, len(body))]
		body = body[len(p):]
		etag := do("PUT", fmt.Sprintf("%s?partNumber=%d&uploadId=%s", path, n, id), p)
		fmt.Fprintf(&done, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", n, strings.ReplaceAll(etag, `"`, "&quot;"))
	}
	do("POST", path+"?uploadId="+id, []byte("<CompleteMultipartUpload>"+done.String()+"</CompleteMultipartUpload>"))
}
