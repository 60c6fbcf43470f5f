// Package testkit has what the tests of several packages share: waiting for conditions, writers
// that can be waited for or held up, HTTP, and a strict parser of Prometheus's text format. Only
// tests may import it.
package testkit

import (
	"fmt"
	"os"
	"reflect"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// MustPipeStderr replaces stderr by a pipe until the end of the test.
func MustPipeStderr(t testing.TB) (reader *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr := os.Stderr
	os.Stderr = w
	t.Cleanup(func() {
		os.Stderr = stderr
		_ = r.Close()
		_ = w.Close()
	})
	return r
}

// MustReadFile reads a whole file.
func MustReadFile(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Ignored are goroutines that end by themselves, or exist once per process and never end.
var Ignored = []goleak.Option{
	goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*HostClient).connsCleaner"),
	goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
	goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
}

// NoLeaks checks at the end of the test that every goroutine started since has ended. It is for
// tests that do not run in parallel.
func NoLeaks(t testing.TB) {
	t.Helper()
	options := append([]goleak.Option{goleak.IgnoreCurrent()}, Ignored...)
	t.Cleanup(func() { goleak.VerifyNone(t, options...) })
}

// Patience is the limit for what should take no time.
const Patience = time.Minute

// Eventually waits until done returns true.
func Eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(Patience); !done(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("it never came true: %s", what)
		}
	}
}

// Fill sets every field of a struct to a distinct value.
func Fill(t testing.TB, v reflect.Value) {
	t.Helper()
	for i := range v.NumField() {
		f := v.Field(i)
		if !v.Type().Field(i).IsExported() {
			continue
		}
		switch x := f.Addr().Interface().(type) {
		case *string:
			*x = fmt.Sprintf("text %d \xff\x00\"é", i)
		case *uint64:
			*x = 1<<63 + uint64(i)
		case *int64:
			*x = 1<<53 + int64(i)
		case *uint8:
			*x = uint8(i + 1)
		case *int:
			*x = i + 1
		case *bool:
			*x = true
		case *[]string:
			*x = []string{"b:9000", "c:9000"}
		case *time.Time:
			*x = time.Unix(1_800_000_000, int64(i)).UTC()
		case *map[string]string:
			*x = map[string]string{"b:9000": "e\xff"}
		default:
			switch f.Kind() {
			case reflect.Uint8:
				f.SetUint(uint64(i + 1))
			case reflect.String:
				f.SetString(fmt.Sprint("text ", i))
			case reflect.Slice: // of structs
				f.Set(reflect.MakeSlice(f.Type(), 2, 2))
				Fill(t, f.Index(0))
				Fill(t, f.Index(1))
			default:
				t.Fatalf("fill knows no %s", v.Type().Field(i).Name)
			}
		}
	}
}
