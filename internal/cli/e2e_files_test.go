//go:build linux

package cli

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
)

// dialIdle opens connections that send nothing.
func dialIdle(t *testing.T, addr string, n int) {
	t.Helper()
	for range n {
		nc, err := net.Dial("tcp", addr)
		testkit.MustDo(t, err)
		t.Cleanup(func() { _ = nc.Close() })
	}
}

func (b *binary) files() int {
	b.t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", b.cmd.Process.Pid))
	testkit.MustDo(b.t, err)
	return len(entries)
}

// testFewFiles: with a descriptor limit far below what is configured, idle clients and bursts
// neither end the process or the service nor cost any backend an object.
func testFewFiles(t *testing.T, path string) {
	const limit = 256
	wrapper := filepath.Join(t.TempDir(), "akubra")
	script := fmt.Sprintf("#!/bin/sh\nulimit -n %d\nexec %s \"$@\"\n", limit, path)
	testkit.MustDo(t, os.WriteFile(wrapper, []byte(script), 0o700)) //nolint:gosec // it must be executable
	stores := []*stub.Server{stub.New(t), stub.New(t)}
	b := startBinary(t, wrapper, stores, "")
	b.stderr.WaitFor(t, "the limit of open files")
	dialIdle(t, b.addr, 2*limit)
	var done sync.WaitGroup
	var mu sync.Mutex
	stored := 0
	for i := range limit / 2 { // while idle clients are connected, and more than fit
		done.Go(func() {
			status, err := upload(b.addr, "/b/"+strconv.Itoa(i), 100<<10) // through pipes
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				t.Errorf("upload %d: %v", i, err)
			case status == 200:
				stored++
			case status != 503:
				t.Errorf("upload %d: %d", i, status)
			}
		})
	}
	most := b.files()
	for range 200 {
		most = max(most, b.files())
	}
	testkit.Finish(t, "the uploads end", done.Wait)
	if most >= limit {
		t.Errorf("%d files were open, all that there are", most)
	}
	if stored < 5 { // the more requests at once, the more get a 503
		t.Errorf("%d of %d uploads were taken", stored, limit/2)
	}
	_, text, err := testkit.Send("GET", "http://"+b.admin+"/metrics", "")
	if err != nil || !strings.Contains(text, "\nakubra_accept_failures_total 0\n") {
		t.Errorf("accepting has failed, which it need not have (%v)", err)
	}
	b.terminate()
	for _, r := range b.records() { // a busy machine has others as well
		if strings.Contains(r.Error, "too many open files") {
			t.Errorf("a divergence for want of files: %+v", r)
		}
	}
}

// testOutOfFiles: if descriptors run out all the same, the listeners go on, and all is well again
// once there are some.
func testOutOfFiles(t *testing.T, path string) {
	s := stub.New(t)
	b := startBinary(t, path, []*stub.Server{s}, "")
	var old unix.Rlimit
	pid := b.cmd.Process.Pid
	testkit.MustDo(t, unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &old))
	few := unix.Rlimit{Cur: uint64(b.files()) + 2, Max: old.Max}
	testkit.MustDo(t, unix.Prlimit(pid, unix.RLIMIT_NOFILE, &few, nil))
	dialIdle(t, b.addr, 20)
	dialIdle(t, b.admin, 20)
	b.stderr.WaitFor(t, "cannot accept a connection")
	testkit.MustDo(t, unix.Prlimit(pid, unix.RLIMIT_NOFILE, &old, nil))
	if status, err := upload(b.addr, "/b/k", 100<<10); err != nil || status != 200 {
		t.Errorf("with files again: %d, %v", status, err)
	}
	if got := b.status().Backends[0].State; got != "active" {
		t.Errorf("the backend is %s", got)
	}
	b.terminate()
}
