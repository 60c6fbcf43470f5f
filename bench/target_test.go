package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/s3/sigv4"
)

// signed lets only requests through whose signature and payload are right.
func signed(t *testing.T, key string, next http.Handler, requests *atomic.Int64) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
		if err != nil {
			t.Error(err)
		}
		want := http.Header{}
		sigv4.New("user", key, "", "us-east-1").Sign(want, r.Method, r.Host, r.URL.EscapedPath(), r.URL.RawQuery, sigv4.Hash(body), at)
		if r.Header.Get("Authorization") != want.Get("Authorization") {
			http.Error(w, "SignatureDoesNotMatch", http.StatusForbidden)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	})
}

func TestTarget(t *testing.T) {
	for _, scenario := range []string{"put", "get", "head", "mix", "noalive"} {
		t.Run(scenario, func(t *testing.T) {
			t.Parallel()
			backend := s3mem.New()
			var requests atomic.Int64
			server := httptest.NewServer(signed(t, "secret", gofakes3.New(backend, gofakes3.WithLogger(gofakes3.DiscardLog())).Server(), &requests))
			defer server.Close()
			o := mustOptions(t, "-target", server.URL, "-access-key", "user", "-secret-key", "secret", "-scenario", scenario,
				"-size", "3000", "-conns", "3", "-rounds", "1", "-duration", "100ms", "-warmup", "1s")
			var out bytes.Buffer
			o.out = &out
			rs := newResults(o, nil)
			testkit.MustDo(t, o.runTarget(context.Background(), rs))
			if len(rs.Runs) != 1 || rs.Runs[0].Succeeded == 0 || rs.Runs[0].Failed > 0 || requests.Load() < rs.Runs[0].Succeeded {
				t.Errorf("%+v", rs.Runs)
			}
			if !strings.Contains(out.String(), "requests succeeded") || !strings.Contains(out.String(), "requests/s") {
				t.Errorf("the summary reads\n%s", out.String())
			}
			if buckets, err := backend.ListBuckets(); err != nil || len(buckets) != 0 {
				t.Errorf("buckets are left: %v, %v", buckets, err)
			}
		})
	}
}

func TestTargetKeepsAGivenBucket(t *testing.T) {
	backend := s3mem.New()
	var requests atomic.Int64
	server := httptest.NewServer(signed(t, "secret", gofakes3.New(backend, gofakes3.WithLogger(gofakes3.DiscardLog())).Server(), &requests))
	defer server.Close()
	args := []string{"-target", server.URL, "-access-key", "user", "-secret-key", "secret", "-bucket", "mine", "-size", "10", "-conns", "2",
		"-rounds", "1", "-duration", "50ms", "-warmup", "0s"}
	o := mustOptions(t, args...)
	if err := o.runTarget(context.Background(), newResults(o, nil)); err == nil || !strings.Contains(err.Error(), "404") {
		t.Fatalf("a bucket that is not there: %v", err)
	}
	testkit.MustDo(t, backend.CreateBucket("mine"))
	o = mustOptions(t, args...)
	testkit.MustDo(t, o.runTarget(context.Background(), newResults(o, nil)))
	objects, err := backend.ListBucket("mine", &gofakes3.Prefix{}, gofakes3.ListBucketPage{})
	if err != nil || len(objects.Contents) != 0 {
		t.Errorf("objects are left: %v, %v", objects, err)
	}
	o.targets[0].secretKey = "wrong"
	if err := o.runTarget(context.Background(), newResults(o, nil)); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("a wrong key: %v", err)
	}
}

func TestTargetCannotDoFaults(t *testing.T) {
	o := mustOptions(t, "-target", "http://127.0.0.1:1", "-access-key", "a", "-secret-key", "b", "-scenario", "hung")
	if err := o.runTarget(context.Background(), newResults(o, nil)); err == nil {
		t.Error("a target's backend can be made to hang")
	}
}

func TestProgressLine(t *testing.T) {
	c := putOf(4<<10, 2, 32)
	if line := progressLine(&c, nil); !strings.Contains(line, "warming up") {
		t.Error(line)
	}
	r := newRecorder(10 * time.Second)
	r.start = time.Now().Add(-5 * time.Second)
	r.succeeded.Store(500)
	r.failed.Store(2)
	if line := progressLine(&c, r); !strings.Contains(line, "5.0/10.0 s") || !strings.Contains(line, "████████████····") || !strings.Contains(line, "2 failed") {
		t.Error(line)
	}
}
