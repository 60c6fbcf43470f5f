package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestMain lets this binary be a backend's process, as the real one is.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == backendCommand {
		exit(runBackend(os.Args[2], os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

func mustOptions(t *testing.T, args ...string) *options {
	t.Helper()
	o, err := parseOptions(args)
	if err != nil {
		t.Fatal(err)
	}
	o.out, o.log = io.Discard, io.Discard
	return o
}

func TestSizes(t *testing.T) {
	for s, want := range map[string]int64{"0": 0, "512": 512, "4KiB": 4096, "16MiB": 16 << 20, "1GiB": 1 << 30, "5KB": 5000, "1MB": 1e6, "7B": 7} {
		if got, err := parseSize(s); err != nil || got != want {
			t.Errorf("%s is %d, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "x", "-1", "4 apples", "1.5MiB", "9999999999GiB"} {
		if n, err := parseSize(s); err == nil {
			t.Errorf("%q is read as %d", s, n)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1000: "1000 B", 4096: "4 KiB", 256 << 20: "256 MiB", 1 << 30: "1 GiB", 1<<20 + 1: "1048577 B"} {
		if got := formatSize(n); got != want {
			t.Errorf("%d is written %q", n, got)
		}
	}
}

func TestMixSizes(t *testing.T) {
	if !slices.IsSorted(mixSizes) || mixSizes[len(mixSizes)-1] > mixLargest {
		t.Fatal("the quantiles are not in order, or too large")
	}
	if middle := float64(mixSizes[len(mixSizes)/2]); math.Abs(middle/mixMedian-1) > .02 {
		t.Fatalf("the median is %v", middle)
	}
}

func TestOptions(t *testing.T) {
	o := mustOptions(t, "-scenario", "get", "-size", "4KiB, 1MiB", "-conns", "1,32", "-backends", "3", "-rate", "100", "-config", "A: 1", "-config", "B: 2")
	cases := o.cases()
	if len(cases) != 4 {
		t.Fatalf("%d cases, want 2 sizes × 2 numbers of connections", len(cases))
	}
	if c := cases[3]; c.Method != "GET" || c.Size != 1<<20 || c.Conns != 32 || c.Backends != 3 || c.Rate != 100 || len(c.Config) != 2 {
		t.Fatalf("the last case is %+v", c)
	}
	for _, wrong := range [][]string{
		{"-scenario", "nonsense"}, {"-size", "big"}, {"-conns", "0"}, {"-rounds", "0"}, {"-peers", "apache"}, {"-rate", "-1"},
		{"extra"}, {"-target", "ftp://x"}, {"-target", "http://x", "-access-key", "", "-secret-key", ""}, {"-flap", "0s"},
	} {
		if wrong[0] == "-target" {
			t.Setenv("AWS_ACCESS_KEY_ID", "")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "")
		}
		if _, err := parseOptions(wrong); err == nil {
			t.Errorf("%q is taken", wrong)
		}
	}
}

func TestAllScenariosAreBounded(t *testing.T) {
	o := mustOptions(t, "-scenario", "all")
	cases := o.cases()
	names := map[string]bool{}
	for i := range cases {
		c := &cases[i]
		if names[c.String()] {
			t.Errorf("%s is there twice", c)
		}
		names[c.String()] = true
		if int64(c.Conns)*c.Size > inFlightBytes || c.Duration > minLong {
			t.Errorf("%s may take very long", c)
		}
	}
	for _, want := range []string{"put 0 B ×2 c32", "put 256 MiB ×2 c4", "put 4 KiB ×2 c1", "put 4 KiB ×2 c2000", "put 4 KiB ×5 c32", "mix ×2 c32",
		"head 4 KiB ×2 c32", "get 16 MiB ×2 c32", "slow 64 KiB ×3 c32", "hung 4 KiB ×3 c32", "flapping 4 KiB ×3 c32", "dead 4 KiB ×3 c32",
		"tls 4 KiB ×2 c32", "noalive 4 KiB ×2 c32", "idle ×2 c2000"} {
		if !names[want] {
			t.Errorf("%s is missing", want)
		}
	}
}

// TestMeasureInFrontOfBackends drives real backends in their own processes, from
// options to tables.
func TestMeasureInFrontOfBackends(t *testing.T) {
	for _, scenario := range []string{"put", "get", "head", "mix", "noalive", "hung"} {
		t.Run(scenario, func(t *testing.T) {
			o := mustOptions(t, "-scenario", scenario, "-size", "100KiB", "-conns", "3", "-peers", "direct", "-rounds", "2", "-duration", "120ms", "-warmup", "1s")
			var out bytes.Buffer
			o.out = &out
			cases := o.cases()
			for i := range cases {
				cases[i].Duration = o.duration
			}
			rs := newResults(o, nil)
			if err := o.runCases(context.Background(), rs, cases); err != nil {
				t.Fatal(err)
			}
			if len(rs.Runs) != 2 || rs.Runs[1].Round != 1 {
				t.Fatalf("%d runs, want one a round", len(rs.Runs))
			}
			for _, r := range rs.Runs {
				if r.Succeeded == 0 || r.Failed != 0 || r.Wrong != "" || r.SucceededWithin > float64(r.Succeeded) {
					t.Errorf("%+v", r)
				}
			}
			if !strings.Contains(out.String(), "direct") || strings.Contains(out.String(), "NaN") {
				t.Errorf("the table reads\n%s", out.String())
			}
		})
	}
}

func TestInterrupted(t *testing.T) {
	o := mustOptions(t, "-size", "4KiB", "-conns", "2", "-peers", "direct", "-duration", "1h", "-warmup", "1h")
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	err := o.runCases(ctx, newResults(o, nil), o.cases())
	if err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Fatalf("got %v", err)
	}
}

// TestAllocationsOfReadingDoNotCount reads the counters of a proxy that allocates
// whenever they are read: some before it tells them, most of it afterwards.
func TestAllocationsOfReadingDoNotCount(t *testing.T) {
	const requests = 50
	var counted int64
	admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		counted += 100
		fmt.Fprintf(w, "go_memstats_mallocs_total %d\ngo_memstats_alloc_bytes_total %d\n", counted, 10*counted)
		counted += 900
	}))
	defer admin.Close()
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: &exec.Cmd{Process: self}, admin: strings.TrimPrefix(admin.URL, "http://")}
	before, err := p.usageBefore()
	if err != nil {
		t.Fatal(err)
	}
	counted += requests
	after, err := p.usage()
	if err != nil {
		t.Fatal(err)
	}
	if used := after.since(before); used.Mallocs != requests || used.Alloced != 10*requests {
		t.Errorf("%d allocations of %d bytes, want those of %d requests", used.Mallocs, used.Alloced, requests)
	}
}

func TestPeersConfigurations(t *testing.T) {
	stores := []*process{{addr: "127.0.0.1:1001"}, {addr: "127.0.0.1:1002"}, {addr: "127.0.0.1:1003"}}
	c := Case{Conns: 2000, Backends: 3, TLS: true, Config: []string{"StallTimeout: 1s"}}
	files := akubraFiles("127.0.0.1:1", "127.0.0.1:2", &c, stores)
	text := string(files["akubra.yaml"])
	for _, want := range []string{"Listen: 127.0.0.1:1\n", "AdminListen: 127.0.0.1:2\n", "StallTimeout: 1s\n", "- http://127.0.0.1:1003\n", "ConnLimit: 12000", "CertFile"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if len(files["cert.pem"]) == 0 || len(files["key.pem"]) == 0 {
		t.Error("there is no certificate")
	}
	text = nginxConfig("127.0.0.1:1", &c, stores)
	for _, want := range []string{"listen 127.0.0.1:1 ssl", "mirror /_mirror1;", "mirror /_mirror2;", "keepalive 2000;"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	text = nginxConfig("127.0.0.1:1", &c, stores[:1])
	if strings.Contains(text, "mirror") || strings.Contains(text, "1002") || !strings.Contains(text, "proxy_pass http://store0;") {
		t.Errorf("one backend alone:\n%s", text)
	}
	c = Case{Conns: 32, Backends: 2}
	if text := string(akubraFiles("a", "b", &c, stores)["akubra.yaml"]); strings.Contains(text, "Limit") || strings.Contains(text, "Max") {
		t.Errorf("not all is at its default:\n%s", text)
	}
}
