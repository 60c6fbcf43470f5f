package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog"
)

// full runs the tests of this file at the sizes that the rules promise.
var full = flag.Bool("full", false, "end-to-end tests in full size: minutes, and gigabytes over loopback")

// binary is the proxy as a separate process, as an operator runs it.
type binary struct {
	*restarted
	sync string // the synclog's file
}

// mainPackage is the command, wherever its tests are.
const mainPackage = "github.com/akubra/akubra"

// TestBinary builds the proxy once and runs it in front of stub backends.
func TestBinary(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "akubra")
	build := exec.Command("go", "build", "-o", path, mainPackage)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build: %v\n%s", err, out)
	}
	beside := func(name string, test func(t *testing.T, path string)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, path)
		})
	}
	beside("R10 a slow storage costs StallTimeout once", testLaggard)
	beside("R1 memory does not depend on objects", testMemory)
	beside("R22 restarts under a socket that is held", testHeldSocket)
	beside("R22 restarts with ShutdownDelay", testShutdownDelay)
	beside("R22 certificates are replaced", testCertificates)
	beside("R22 reloads under load", testReloads)
	beside("R22 restarts, reloads and certificates in turn", testRolling)
	beside("R22 the same over a pair with ShutdownDelay", testRollingPair)
	beside("R22 systemd is told", testNotify)
	beside("R22 SIGTERM records what is left", testTermination)
	beside("R23 more clients than connections", testOverload)
	beside("R31 kill -9 resets what is under way", testKillResets)
	beside("R23 few files", testFewFiles)
	beside("R23 idle connections keep small stacks", testIdleStacks)
	beside("R23 out of files", testOutOfFiles)
	beside("R13 demotion and return", testDemotion)
	beside("R23 logs that nobody takes", testLogsNobodyTakes)
	beside("one thread more than processors", testProcessors)
	beside("no library prints while it is initialised", testQuietLibraries)
}

// startBinary starts the proxy in front of the backends, with additional configuration and
// environment.
func startBinary(t testing.TB, path string, stores []*stub.Server, more string, env ...string) *binary {
	t.Helper()
	b := &binary{sync: filepath.Join(t.TempDir(), "sync.log")}
	b.restarted = newRestarted(t, path, stores, fmt.Sprintf("Logging: {Synclog: {Stderr: false, File: %q}}\n%s", b.sync, more))
	b.env = env
	b.start()
	return b
}

// records reads the synclog.
func (b *binary) records() []synclog.Record {
	b.t.Helper()
	text, err := os.ReadFile(b.sync)
	testkit.MustDo(b.t, err)
	var all []synclog.Record
	for line := range bytes.Lines(text) {
		r, err := synclog.ParseRecord(line)
		if err != nil {
			b.t.Fatalf("synclog line %q: %v", line, err)
		}
		all = append(all, r)
	}
	return all
}

// status asks the admin listener.
func (b *binary) status() (s struct {
	InFlight int `json:"in_flight"`
	Backends []struct{ State string }
}) {
	b.t.Helper()
	_, text, err := testkit.Send("GET", "http://"+b.admin+"/status", "")
	testkit.MustDo(b.t, err)
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		b.t.Fatalf("status %s: %v", text, err)
	}
	return s
}

// upload streams n bytes to key and returns the response's status. It ends where nothing moves.
func upload(addr, key string, n int64) (status int, err error) {
	nc, err := net.DialTimeout("tcp", addr, testkit.Patience)
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	moves := func() { _ = nc.SetDeadline(time.Now().Add(testkit.Patience)) }
	moves()
	if _, err := fmt.Fprintf(nc, "PUT %s HTTP/1.1\r\nHost: s3.test\r\nContent-Length: %d\r\n\r\n", key, n); err != nil {
		return 0, err
	}
	piece := make([]byte, 1<<20)
	for left := n; left > 0; {
		m, err := nc.Write(piece[:min(left, int64(len(piece)))])
		if err != nil {
			break // it was refused before its end: the answer says so
		}
		left -= int64(m)
		moves()
	}
	line, err := bufio.NewReader(nc).ReadString('\n')
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(line[9:12])
}

func testLaggard(t *testing.T, path string) {
	fast := stub.New(t, stub.KeepBodies(false), stub.NoHash())
	slow := stub.New(t, stub.KeepBodies(false), stub.NoHash(), stub.ReceiveBuffer(64<<10))
	slow.Behave(stub.Behaviour{ReadRate: 200 << 10})
	b := startBinary(t, path, []*stub.Server{fast, slow}, "StallTimeout: 2s")
	start := time.Now()
	status, err := upload(b.addr, "/b/big", 64<<20)
	took := time.Since(start)
	if err != nil || status != 200 {
		t.Fatalf("upload: %d, %v", status, err)
	}
	t.Logf("64 MiB past a storage of 200 KB/s took %v, StallTimeout is 2s", took)
	// The promise is StallTimeout plus a second; the rest is for machines busy with other tests.
	if took > 10*time.Second {
		t.Errorf("the slow storage cost the client %v", took)
	}
	testkit.Eventually(t, "the slow storage is in the synclog", func() bool { return len(b.records()) > 0 })
	for _, r := range b.records() {
		if r.FailedHost != slow.Addr() || r.SuccessHost != fast.Addr() || r.Key != "big" || !strings.Contains(r.Error, "stalled") {
			t.Errorf("record %+v", r)
		}
	}
	b.terminate()
}

func testMemory(t *testing.T, path string) {
	if runtime.GOOS != "linux" {
		t.Log("resident memory is read from /proc: nothing is asserted here")
	}
	clients, size := 60, int64(8<<20)
	if *full {
		clients, size = 200, 64<<20
	}
	const limit = 200 << 20
	fast := stub.New(t, stub.KeepBodies(false), stub.NoHash(), stub.KeepRequests(1))
	slow := stub.New(t, stub.KeepBodies(false), stub.NoHash(), stub.KeepRequests(1), stub.ReceiveBuffer(64<<10))
	slow.Behave(stub.Behaviour{ReadRate: 20 << 10})
	b := startBinary(t, path, []*stub.Server{fast, slow}, "StallTimeout: 10s\nConnectionTimeout: 60s\nConnLimit: 1000")
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			if status, err := upload(b.addr, "/b/"+strconv.Itoa(i), size); err != nil || status != 200 {
				t.Errorf("upload %d: %d, %v", i, status, err)
			}
		})
	}
	testkit.Finish(t, "the clients end", all.Wait)
	if runtime.GOOS == "linux" {
		peak := peakMemory(t, b.cmd.Process.Pid)
		t.Logf("%d uploads of %d MiB past a trickling storage: %d MB resident at most", clients, size>>20, peak>>20)
		if peak > limit {
			t.Errorf("%d MB resident, want at most %d", peak>>20, limit>>20)
		}
	}
	testkit.Eventually(t, "every upload is recorded for the slow storage", func() bool { return len(b.records()) == clients })
	b.terminate()
}

// peakMemory is a process's VmHWM in bytes (proc(5)).
func peakMemory(t testing.TB, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	testkit.MustDo(t, err)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			testkit.MustDo(t, err)
			return n << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

func testTermination(t *testing.T, path string) {
	well, hangs := stub.New(t), stub.New(t)
	hangs.Behave(stub.Behaviour{HangAfterBody: true})
	b := startBinary(t, path, []*stub.Server{well, hangs}, "ShutdownTimeout: 1s")
	if status, err := upload(b.addr, "/b/k", 1000); err != nil || status != 200 {
		t.Fatalf("upload: %d, %v", status, err)
	}
	hangs.Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
	b.terminate()
	if rs := b.records(); len(rs) != 1 || rs[0].FailedHost != hangs.Addr() || rs[0].Key != "k" {
		t.Errorf("records %+v", rs)
	}
}

// testKillResets kills the proxy in the middle of bodies of all sizes, on every path that they
// take: no backend may take the end of the connection for the end of the body (R31).
func testKillResets(t *testing.T, path string) {
	well, hangs := stub.New(t), stub.New(t)
	var after atomic.Int64
	hangs.BehaveFunc(func(q *stub.Request) stub.Behaviour {
		if strings.HasPrefix(q.Target, "/b/hung-") {
			return stub.Behaviour{During: stub.HangThere, After: after.Load()}
		}
		return stub.Behaviour{}
	})
	// Nobody is cut, deferred (R10) or demoted meanwhile (R13): each one is to have a part.
	b := startBinary(t, path, []*stub.Server{well, hangs}, "ConnectionTimeout: 1h\nStallTimeout: 0s\nConnectionDialTimeout: 1h")
	requests := 0
	// Probes come and go as they like.
	puts := func(rs stub.Requests) stub.Requests {
		return slices.DeleteFunc(slices.Clone(rs), func(q *stub.Request) bool { return q.Method != "PUT" })
	}
	send := func(head string, sent int) {
		requests++
		stub.Dial(t, b.addr).Send(head + strings.Repeat("x", sent))
		for _, s := range []*stub.Server{well, hangs} {
			s.Wait(t, func(rs stub.Requests) bool { return len(puts(rs)) == requests })
		}
	}
	for _, size := range []int{1000, 20 << 10, 100 << 10, 300 << 10, 20 << 20} {
		for _, sent := range []int{1, size / 2, size - 1} {
			head := fmt.Sprintf("PUT /b/%d-%d HTTP/1.1\r\nHost: s3.test\r\nContent-Length: %d\r\n\r\n", size, sent, size)
			send(head, sent)
			after.Store(int64(sent / 4))
			send(strings.Replace(head, "/b/", "/b/hung-", 1), min(sent, 200<<10)) // no more than is held for the backend that hangs
		}
	}
	chunked := "PUT /b/chunked HTTP/1.1\r\nHost: s3.test\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n"
	send(chunked, 1000)
	send(chunked, 1024)

	b.kill()
	hangs.Unhang()
	for _, s := range []*stub.Server{well, hangs} {
		for _, q := range puts(s.Wait(t, func(rs stub.Requests) bool { return puts(rs).Done() == requests })) {
			if !errors.Is(q.Err, syscall.ECONNRESET) {
				t.Errorf("no reset: %s", q)
			}
		}
	}
}

// processors is what the scheduler uses by default, or what GOMAXPROCS says.
var processors = runtime.GOMAXPROCS(0)

func testProcessors(t *testing.T, path string) {
	given := os.Getenv("GOMAXPROCS")
	for _, c := range []struct {
		env  string
		want int
	}{{"", processors + 1}, {"5", 5}} {
		if c.env == "" && given != "" {
			t.Logf("GOMAXPROCS=%s: what it is without is not looked at", given)
			continue
		}
		b := startBinary(t, path, []*stub.Server{stub.New(t)}, "", "GOMAXPROCS="+c.env) // an empty value counts as none
		_, text, err := testkit.Send("GET", "http://"+b.admin+"/metrics", "")
		if want := fmt.Sprintf("\ngo_gomaxprocs %d\n", c.want); err != nil || !strings.Contains(text, want) {
			t.Errorf("GOMAXPROCS=%s: no line %q in the metrics (%v)", c.env, want, err)
		}
		b.terminate()
	}
}

// testQuietLibraries: the metrics library, which prints with each command on a kernel without
// pressure metrics, is initialised after the package that keeps it quiet.
func testQuietLibraries(t *testing.T, path string) {
	cmd := exec.Command(path, "version")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, err := cmd.CombinedOutput()
	testkit.MustDo(t, err)
	quiet := bytes.Index(out, []byte("init github.com/akubra/akubra/internal/quiet "))
	if library := bytes.Index(out, []byte("init github.com/VictoriaMetrics/metrics ")); quiet < 0 || library < quiet {
		t.Errorf("the order is another one:\n%s", out)
	}
}

func testOverload(t *testing.T, path string) {
	s := stub.New(t)
	gate := make(chan struct{})
	s.Behave(stub.Behaviour{Gate: gate})
	b := startBinary(t, path, []*stub.Server{s}, "MaxConcurrentRequests: 2")
	answers := make(chan int, 3)
	for i := range 2 {
		go func() {
			status, err := upload(b.addr, "/b/"+strconv.Itoa(i), 10)
			if err != nil {
				t.Error(err)
			}
			answers <- status
		}()
	}
	s.Wait(t, func(rs stub.Requests) bool { return rs.Held() == 2 })
	nc := stub.Dial(t, b.addr)
	a := nc.Do("PUT /b/c HTTP/1.1\r\nHost: s3.test\r\nContent-Length: 1\r\n\r\nx")
	if a.Status != 503 || !bytes.Contains(a.Body, []byte("<Code>SlowDown</Code>")) {
		t.Errorf("one request too many got %d %s", a.Status, a.Body)
	}
	close(gate)
	for range 2 {
		if status := testkit.Receive(t, "the answer to a request within the bound", answers); status != 200 {
			t.Errorf("a request within the bound got %d", status)
		}
	}
	b.terminate()
}

func testDemotion(t *testing.T, path string) {
	well, breaks := stub.New(t), stub.New(t)
	b := startBinary(t, path, []*stub.Server{well, breaks}, "FailureLimit: 3\nConnectionDialTimeout: 1s")
	put := func(i int) {
		if status, err := upload(b.addr, "/b/"+strconv.Itoa(i), 100); err != nil || status != 200 {
			t.Errorf("upload %d: %d, %v", i, status, err)
		}
	}
	put(0)
	breaks.WaitDone(t, 1)
	breaks.Down()
	i := 1
	testkit.Eventually(t, "the dead storage is demoted", func() bool {
		put(i)
		i++
		return b.status().Backends[1].State == "demoted"
	})
	put(i)
	testkit.MustDo(t, breaks.Up())
	testkit.Eventually(t, "it comes back", func() bool { return b.status().Backends[1].State == "active" })
	if _, ok := breaks.Object("/b/0"); !ok {
		t.Error("the first object is missing")
	}
	// Each object but the first is missing on the second backend, and recorded.
	testkit.Eventually(t, "each missing copy is recorded", func() bool { return len(b.records()) == i })
	if !strings.Contains(b.stderr.String(), "demoted") {
		t.Error("nobody was told of the demotion")
	}
	put(i + 1)
	testkit.Eventually(t, "the storage takes objects again", func() bool {
		_, ok := breaks.Object("/b/" + strconv.Itoa(i+1))
		return ok
	})
	b.terminate()
}
