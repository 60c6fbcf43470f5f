package synclog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/akubra/akubra/internal/testkit"
)

// lines keeps each Write apart. It has no lock: Log promises one Write at a time.
type lines []string

func (l *lines) Write(p []byte) (int, error) {
	*l = append(*l, string(p))
	return len(p), nil
}

func TestR16Methods(t *testing.T) {
	for _, c := range []struct {
		methods []string
		given   string
		want    string
	}{
		{nil, "GET PUT HEAD POST OPTIONS DELETE put", "PUT POST DELETE"},
		{[]string{}, "PUT GET", "PUT"},
		{[]string{"GET", "PUT"}, "GET PUT POST DELETE get", "GET PUT"},
	} {
		var out lines
		l := New(Options{Out: &out, Methods: c.methods})
		given := strings.Fields(c.given)
		for _, m := range given {
			r := sample()
			r.Method = m
			l.Record(&r)
		}
		var got []string
		for _, line := range out {
			if !strings.HasSuffix(line, "}\n") {
				t.Errorf("not a whole line in one Write: %q", line)
			}
			r, err := ParseRecord([]byte(line))
			testkit.MustDo(t, err)
			got = append(got, r.Method)
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("methods %v: recorded %q of %q, want %q", c.methods, s, c.given, c.want)
		}
		want := Counts{Written: uint64(len(got)), Skipped: uint64(len(given) - len(got))}
		if l.Counts() != want {
			t.Errorf("counts %+v, want %+v", l.Counts(), want)
		}
	}
}

func TestConcurrentWholeLines(t *testing.T) {
	const writers, each = 8, 200
	var out bytes.Buffer // no lock here either
	l := New(Options{Out: &out, OnError: func(_ *Record, err error) { t.Error(err) }})
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				r := sample()
				r.ID = fmt.Sprintf("%d-%d", w, i)
				r.Key = strings.Repeat("k", i*7)
				l.Record(&r)
			}
		})
	}
	testkit.Finish(t, "the writers end", wg.Wait)

	seen := map[string]bool{}
	for line := range bytes.Lines(out.Bytes()) {
		r, err := ParseRecord(line)
		if err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		seen[r.ID] = true
	}
	if len(seen) != writers*each {
		t.Errorf("%d records arrived, want %d", len(seen), writers*each)
	}
	if c := l.Counts(); c != (Counts{Written: writers * each}) {
		t.Errorf("counts %+v", c)
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestFailingWriter(t *testing.T) {
	full := errors.New("disk full")
	answers := []func(n int) (int, error){
		func(int) (int, error) { return 0, full },
		func(n int) (int, error) { return n - 1, nil }, // short, and silent about it
		func(n int) (int, error) { return n / 2, full },
		func(n int) (int, error) { return n, nil },
	}
	calls := 0
	var got []error
	var l *Log
	l = New(Options{
		Out: writerFunc(func(p []byte) (int, error) {
			calls++
			return answers[calls-1](len(p))
		}),
		OnError: func(_ *Record, err error) {
			got = append(got, err)
			if len(got) == 3 { // OnError may record: it holds nobody up
				r := sample()
				l.Record(&r)
			}
		},
	})
	for range 3 {
		r := sample()
		l.Record(&r)
	}
	if len(got) != 3 || !errors.Is(got[0], full) || !errors.Is(got[1], io.ErrShortWrite) || !errors.Is(got[2], full) {
		t.Errorf("OnError heard %v", got)
	}
	if calls != 4 {
		t.Errorf("%d writes, want one a record", calls)
	}
	if c := l.Counts(); c != (Counts{Written: 1, Failed: 3}) {
		t.Errorf("counts %+v", c)
	}

	r := sample()
	silent := New(Options{Out: writerFunc(func([]byte) (int, error) { return 0, full })})
	silent.Record(&r)
	if silent.Counts().Failed != 1 {
		t.Error("a failure without OnError was not counted")
	}
}

func TestNewWithoutOut(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a Log that loses every record was made")
		}
	}()
	New(Options{})
}

func BenchmarkAppendJSON(b *testing.B) {
	r := sample()
	buf := r.AppendJSON(nil)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		buf = r.AppendJSON(buf[:0])
	}
}

func BenchmarkRecord(b *testing.B) {
	l := New(Options{Out: io.Discard})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		r := sample()
		for pb.Next() {
			l.Record(&r)
		}
	})
}

// TestR22MethodsChange: which methods are recorded changes from one record to the next.
func TestR22MethodsChange(t *testing.T) {
	var out bytes.Buffer
	l := New(Options{Out: &out, Methods: []string{"GET"}})
	for _, methods := range [][]string{{"PUT"}, nil, {"GET"}} {
		l.Record(&Record{Method: "PUT"})
		l.SetMethods(methods)
	}
	l.Record(&Record{Method: "PUT"})
	if got := l.Counts(); got.Written != 2 || got.Skipped != 2 {
		t.Errorf("%+v", got)
	}
}
