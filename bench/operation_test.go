package main

import (
	"bytes"
	"context"
	"math"
	"net"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/akubra/akubra/bench/histogram"
	"github.com/akubra/akubra/internal/testkit"
)

// TestTargetsCompared drives two endpoints in turn, and tells of each operation of the mix.
func TestTargetsCompared(t *testing.T) {
	var args []string
	var backends []*s3mem.Backend
	for _, name := range []string{"", "far="} {
		backend := s3mem.New()
		var requests atomic.Int64
		server := httptest.NewServer(signed(t, "secret", gofakes3.New(backend, gofakes3.WithLogger(gofakes3.DiscardLog())).Server(), &requests))
		t.Cleanup(server.Close)
		backends = append(backends, backend)
		args = append(args, "-target", name+server.URL)
	}
	near := strings.TrimPrefix(args[1], "http://")
	o := mustOptions(t, append(args, "-access-key", "user", "-secret-key", "secret", "-scenario", "mix", "-conns", "2", "-rounds", "2", "-duration", "400ms", "-warmup", "300ms")...)
	var out bytes.Buffer
	o.out = &out
	rs := newResults(o, nil)
	testkit.MustDo(t, o.runTarget(context.Background(), rs))
	var order []string
	for _, r := range rs.Runs {
		order = append(order, r.Peer)
		if r.Failed > 0 || r.Operations["PUT"] == nil || r.Operations["PUT"].Sent == 0 || r.Operations["HEAD"] != nil {
			t.Errorf("%s: %d failed, %+v", r.Peer, r.Failed, r.Operations)
		}
		var sent int64
		for _, op := range r.Operations {
			sent += op.Sent
		}
		if sent != r.Sent {
			t.Errorf("%d of %d requests are told by operation", sent, r.Sent)
		}
	}
	if want := strings.Join([]string{near, "far", "far", near}, " "); strings.Join(order, " ") != want {
		t.Errorf("driven in the order %q, want %s", order, want)
	}
	for _, want := range []string{"far over " + near, near + " PUT", "far PUT", "p50 ms", "first p50 ms", "MiB/s", "far, mix c2: ", "?: too few rounds"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
	for i, backend := range backends {
		if buckets, err := backend.ListBuckets(); err != nil || len(buckets) != 0 {
			t.Errorf("buckets are left on %d: %v, %v", i, buckets, err)
		}
	}
}

func TestTargetsHaveNames(t *testing.T) {
	keys := []string{"-access-key", "a", "-secret-key", "b"}
	for _, c := range []struct {
		urls, want []string
	}{
		{[]string{"http://one:9000"}, []string{"target"}},
		{[]string{"it=http://one:9000"}, []string{"it"}},
		{[]string{"http://one:9000", "https://two"}, []string{"one:9000", "two"}},
		{[]string{"backend=http://one:9000", "http://two:1"}, []string{"backend", "two:1"}},
		{[]string{"http://one:9000", "http://one:9000"}, nil},
		{[]string{"a=http://one:9000", "a=http://two:9000"}, nil},
		{[]string{"http://one:9000", "ftp://two"}, nil},
	} {
		args := keys
		for _, url := range c.urls {
			args = append(args[:len(args):len(args)], "-target", url)
		}
		o, err := parseOptions(args)
		var got []string
		if err == nil {
			for _, one := range o.targets {
				got = append(got, one.name)
			}
		}
		if strings.Join(got, " ") != strings.Join(c.want, " ") {
			t.Errorf("%q are %q, want %q (%v)", c.urls, got, c.want, err)
		}
	}
}

// headFirst gives an answer's head, and its body when it is asked for that.
type headFirst struct {
	net.Conn
	parts []string
	asked time.Time
}

func (c *headFirst) Read(p []byte) (int, error) {
	c.asked = time.Now()
	part := c.parts[0]
	c.parts = c.parts[1:]
	return copy(p, part), nil
}
func (c *headFirst) Write(p []byte) (int, error) { return len(p), nil }
func (c *headFirst) SetDeadline(time.Time) error { return nil }
func (c *headFirst) Close() error                { return nil }

// TestFirstByte: of an answer whose body is late, the head's time counts.
func TestFirstByte(t *testing.T) {
	nc := &headFirst{parts: []string{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "abc"}}
	req := request{method: "GET", head: []byte("GET / HTTP/1.1\r\n\r\n"), answer: 3}
	c := &client{dial: func() (net.Conn, error) { return nc, nil }, timeout: time.Minute, progress: func(int) {}}
	began := time.Now()
	testkit.MustDo(t, c.do(&req))
	if req.got != 3 || req.firstByte.Before(began) || req.firstByte.After(nc.asked) {
		t.Fatalf("%d bytes, the first %v after the body was asked for", req.got, req.firstByte.Sub(nc.asked))
	}

	r := newRecorder(time.Hour)
	r.begin()
	r.done(&request{method: "GET", got: 100, firstByte: r.start.Add(time.Second)}, r.start, r.start, r.start.Add(4*time.Second), nil)
	r.done(&request{method: "PUT", size: 50, firstByte: r.start.Add(2 * time.Second)}, r.start, r.start, r.start.Add(2*time.Second), nil)
	r.progress(150)
	mix := Case{Scenario: "mix", Method: methodMix}
	run := newRun(&mix, "target", 0, r, usage{})
	get := run.operation("GET")
	for _, of := range []struct {
		what      string
		got, want float64
	}{
		{"first byte", get.figure(metricOf("first_p50_s")), 1}, {"latency", get.figure(metricOf("p50_s")), 4},
		{"rate", get.figure(metricOf("ok_per_s")) * 3600, 1}, {"throughput", get.figure(metricOf("mib_per_s")) * 3600 * mib, 100},
	} {
		if math.Abs(of.got-of.want) > .02*of.want {
			t.Errorf("the %s is %v, want %v", of.what, of.got, of.want)
		}
	}
	if put := run.operation("PUT"); !math.IsNaN(put.figure(metricOf("first_p50_s"))) || run.operation("DELETE") != nil {
		t.Error("a PUT's first byte is its latency, and nothing was deleted")
	}
}

// TestOneUnitAColumn: what stands in one column of a table is in the unit of its head.
func TestOneUnitAColumn(t *testing.T) {
	r := &Run{Peer: "direct", Case: putOf(0, 2, 1), Seconds: 1, Latency: &histogram.Histogram{}, Series: &Series{}}
	r.Latency.Record(20 * time.Microsecond)
	slow := *r
	slow.Peer, slow.Latency = "akubra", &histogram.Histogram{}
	slow.Latency.Record(20 * time.Second)
	var out bytes.Buffer
	printTable(&out, []*Run{r, &slow})
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) < 4 || !strings.Contains(lines[0], "p50 ms") || !strings.Contains(lines[2], "0.020") || !strings.Contains(lines[3], "1999") {
		t.Fatal(out.String())
	}
	for _, line := range lines[2:4] {
		for _, cell := range strings.Fields(line)[1:] {
			if _, err := strconv.ParseFloat(cell, 64); err != nil {
				t.Errorf("%q stands in %q: the unit is in the head", cell, line)
			}
		}
	}
}

// TestMix drives each operation, on backends of our own and on any S3 endpoint.
func TestMix(t *testing.T) {
	for _, wrong := range []string{"", "put", "put=x", "put=-1", "copy=3", "put=0", "put=1;get=1"} {
		if m, err := parseMix(wrong); err == nil {
			t.Errorf("%q is taken: %v", wrong, m)
		}
	}
	o := mustOptions(t, "-scenario", "mix", "-mix", "delete=10, list=20,head=20,get=20,put=30", "-conns", "2")
	c := o.cases()[0]
	if want := "mix put=30,get=20,head=20,delete=10,list=20 ×2 c2"; c.String() != want {
		t.Errorf("the case is named %q, want %q", c.String(), want)
	}
	if plain := mustOptions(t, "-scenario", "mix").cases()[0]; plain.String() != "mix ×2 c32" {
		t.Errorf("the production mix is named %q", plain.String())
	}
	s := newTestBackend(t)
	r := newTestLoad(t, s, &c, 400).run(context.Background(), time.Minute, nil)
	all := r.byOperation(&c)
	if len(all) != len(operations) || r.failed.Load() > 0 {
		t.Errorf("%d of %d operations were driven, %v", len(all), len(operations), r.errors)
	}
	if err := verify(&c, "direct", r, []*backendCounts{s.take()}); err != nil {
		t.Error(err)
	}

	backend := s3mem.New()
	var requests atomic.Int64
	server := httptest.NewServer(signed(t, "secret", gofakes3.New(backend, gofakes3.WithLogger(gofakes3.DiscardLog())).Server(), &requests))
	defer server.Close()
	o = mustOptions(t, "-target", server.URL, "-access-key", "user", "-secret-key", "secret", "-scenario", "mix", "-mix", "put=40,head=20,get=20,list=20",
		"-conns", "2", "-rounds", "1", "-duration", "500ms", "-warmup", "300ms")
	rs := newResults(o, nil)
	testkit.MustDo(t, o.runTarget(context.Background(), rs))
	run := rs.Runs[0]
	if run.Failed > 0 || run.Operations["LIST"] == nil || run.Operations["HEAD"] == nil || run.Operations["LIST"].Bytes == 0 || run.Operations["HEAD"].Bytes != 0 {
		t.Errorf("%v: %+v", run.Errors, run.Operations)
	}
}
