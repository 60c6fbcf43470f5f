package interop

import (
	"bytes"
	"crypto/md5" //nolint:gosec // ETags are
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// TestR31CutUploads: whatever becomes of an upload that has not come to its end, no
// backend stores the part of it that came. versitygw takes the end of a connection
// for the end of a body, so that it is the one to ask. Whole ones that are chunked twice come first (R32).
func TestR31CutUploads(t *testing.T) {
	topologies := []struct {
		name string
		new  func(t *testing.T) *world
		all  bool
	}{{"two versitygw", two(versitygw), true}, {"two versitygw over TLS", newSecureStores, true}, {"two MinIO", two(minio), false}}
	var silences []func()
	for _, topology := range topologies {
		if topology.all { // it takes a minute, in which the others have a world of their own
			silences = append(silences, newCuts(t, topology.new(t)).silent("silence, "+topology.name))
		}
	}
	for _, topology := range topologies {
		t.Run(topology.name, func(t *testing.T) {
			c := newCuts(t, topology.new(t))
			c.chunkedTwice()
			c.byClient("reset", cutReset)
			c.byClient("FIN", c.wantNoYes)
			c.byProxy("SIGTERM past ShutdownTimeout", "ShutdownTimeout: 1s\n", c.terminate)
			c.byProxy("kill -9", "", func(p *proxy) { p.process.kill() })
			if topology.all {
				// The backend is thawed before the proxy has given its legs up, or after.
				c.frozen("frozen backend and a reset", false, func(_ *proxy, conns []*net.TCPConn) { cutAll(conns, cutReset) })
				c.frozen("frozen backend and a FIN", true, func(_ *proxy, conns []*net.TCPConn) { cutAll(conns, c.wantNoYes) })
				c.frozen("frozen backend and kill -9", false, func(p *proxy, _ []*net.TCPConn) { p.process.kill() })
				c.stalled()
			}
		})
	}
	for _, end := range silences {
		end()
	}
}

// two makes stores of one kind.
func two(kind string) func(t *testing.T) *world {
	return func(t *testing.T) *world { return newStores(t, [2]string{kind, kind}) }
}

// cuts are uploads that end in their middle.
type cuts struct {
	*testing.T
	*world
	bucket string
	rounds int // of each kind
	plain  *proxy
}

// cut is one of them.
type cut struct {
	name   string
	style  string
	part   bool // it is a part of an upload
	length int
	sent   float64 // how much of it is sent
	absent bool    // there is no good object that it would replace

	key, query string
	good       []byte
	conn       *net.TCPConn
}

// kinds are the cuts to be tried in each way: 45 of them.
func kinds() []*cut {
	var all []*cut
	for _, style := range []string{byHeader, byPresigned, "part", byTrailer, byChunks} {
		for _, length := range []int{30_000, 300_000, 5_000_000} { // gathered, in pipes, in many pieces
			for i, sent := range []float64{0.5, 0, 1} { // of the body; all means but for a byte
				all = append(all, &cut{
					name:  fmt.Sprintf("%s, %d bytes", style, length),
					style: strings.Replace(style, "part", byHeader, 1), part: style == "part",
					length: length, sent: sent, absent: (len(all)+i)%4 == 3,
				})
			}
		}
	}
	return all
}

func newCuts(t *testing.T, w *world) *cuts {
	t.Helper()
	c := &cuts{T: t, world: w, bucket: "cut-off", rounds: 1}
	if full() {
		c.rounds = 5 // 225 of each kind
	}
	c.plain = c.start("plain", "")
	for _, store := range w.stores {
		if _, err := store.direct.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &c.bucket}); err != nil {
			t.Fatal(err)
		}
	}
	// What follows would prove nothing if the backends refused such uploads.
	for i, k := range kinds() {
		k.prepare(c, "whole", i)
		u, err := newUpload(c.plain.addr, k.style, c.bucket, k.key, k.query, content(uint64(k.length), k.length))
		if err != nil {
			t.Fatal(err)
		}
		if status, err := u.whole(); status != 200 {
			t.Fatalf("a whole upload (%s) is answered %d, %v", k.name, status, err)
		}
		c.settled(c.plain)
		if !k.part {
			k.good, k.absent = content(uint64(k.length), k.length), false
			k.check(c, "whole", nil, c.stores[:]...)
		}
	}
	return c
}

// start starts a proxy of the test's own.
func (c *cuts) start(name, more string) *proxy {
	c.Helper()
	// A backend that fails is to get the next one, too.
	p := c.newProxy(c.T, name, "", "FailureLimit: 0\n"+more)
	c.ready(p)
	return p
}

func (c *cuts) ready(p *proxy) {
	c.Helper()
	p.await(c.T, "it is ready with all backends", func(s status) bool { return s.Ready && s.active() })
}

func (c *cuts) settled(p *proxy) {
	c.Helper()
	p.await(c.T, "nothing is in flight", func(s status) bool { return s.InFlight == 0 })
}

// prepare has the good object on both backends, past the proxy, or the good part in
// the one that the proxy chose for the upload.
func (k *cut) prepare(c *cuts, way string, i int) {
	c.Helper()
	k.key = fmt.Sprintf("%s/%d", way, i)
	k.good = content(uint64(i), 12+i)
	if !k.part {
		for _, store := range c.stores {
			if k.absent {
				continue
			}
			if _, err := store.direct.PutObject(c.Context(), &s3.PutObjectInput{Bucket: &c.bucket, Key: &k.key, Body: bytes.NewReader(k.good)}); err != nil {
				c.Fatal(err)
			}
		}
		return
	}
	client := newSDK(c.plain.url, nil)
	out, err := client.CreateMultipartUpload(c.Context(), &s3.CreateMultipartUploadInput{Bucket: &c.bucket, Key: &k.key})
	if err != nil {
		c.Fatal(err)
	}
	c.settled(c.plain)
	k.query = "partNumber=1&uploadId=" + *out.UploadId
	if k.absent {
		return
	}
	u, err := newUpload(c.plain.addr, byHeader, c.bucket, k.key, k.query, k.good)
	if err != nil {
		c.Fatal(err)
	}
	if status, err := u.whole(); status != 200 {
		c.Fatalf("a good part is answered %d, %v", status, err)
	}
	c.settled(c.plain)
}

// begin sends what of it is to be sent.
func (k *cut) begin(c *cuts, p *proxy) error {
	c.Helper()
	u, err := newUpload(p.addr, k.style, c.bucket, k.key, k.query, content(uint64(k.length), k.length))
	if err != nil {
		return err
	}
	last := 1
	if k.style == byChunks { // behind its own framing there is HTTP's, which adds nothing
		last = len("\n" + "\r\n0\r\n\r\n")
	}
	k.conn, err = u.begin(min(max(int(k.sent*float64(len(u.body))), 1), len(u.body)-last))
	return err
}

// check compares what these backends hold with the good object; damage counts by name
// and backend.
func (k *cut) check(c *cuts, way string, damage map[string]int, stores ...*store) {
	c.Helper()
	for _, store := range stores {
		what := ""
		if k.part {
			what = k.partDamage(c, store)
		} else {
			what = objectDamage(c, store, k.key, k.good, k.absent)
		}
		if what == "" {
			continue
		}
		if damage == nil {
			c.Fatalf("%s, %s: %v %s", way, k.name, store, what)
		}
		if damage[k.name] == 0 {
			c.Logf("%s, %s, %.0f %% sent: %v %s", way, k.name, 100*k.sent, store, what)
		}
		damage[k.name]++
	}
}

func objectDamage(c *cuts, store *store, key string, good []byte, absent bool) string {
	c.Helper()
	out, err := store.direct.GetObject(c.Context(), &s3.GetObjectInput{Bucket: &c.bucket, Key: &key})
	switch {
	case errorCode(err) == "NoSuchKey" && absent:
		return ""
	case err != nil && !absent:
		return "has no good object any more: " + err.Error()
	case err != nil:
		c.Fatalf("%v: %v", store, err)
	}
	defer out.Body.Close()
	data, err := io.ReadAll(out.Body)
	switch {
	case err != nil:
		return "cannot give the object: " + err.Error()
	case absent:
		return fmt.Sprintf("has an object of %d bytes where there was none", len(data))
	case !bytes.Equal(data, good):
		return fmt.Sprintf("has %d bytes in place of the %d of the good object", len(data), len(good))
	}
	return ""
}

// partDamage looks at the only part of the upload, where that is.
func (k *cut) partDamage(c *cuts, store *store) string {
	c.Helper()
	_, id, _ := strings.Cut(k.query, "uploadId=")
	out, err := store.direct.ListParts(c.Context(), &s3.ListPartsInput{Bucket: &c.bucket, Key: &k.key, UploadId: &id})
	if errorCode(err) == "NoSuchUpload" {
		return ""
	}
	if err != nil {
		c.Fatalf("%v: %v", store, err)
	}
	sum := md5.Sum(k.good) //nolint:gosec // so it is defined
	switch {
	case k.absent && len(out.Parts) > 0:
		return fmt.Sprintf("has a part of %d bytes where there was none", aws.ToInt64(out.Parts[0].Size))
	case !k.absent && len(out.Parts) != 1:
		return fmt.Sprintf("has %d parts in place of the good one", len(out.Parts))
	case !k.absent && strings.Trim(aws.ToString(out.Parts[0].ETag), `"`) != hex.EncodeToString(sum[:]):
		return fmt.Sprintf("has a part of %d bytes in place of the %d of the good one", aws.ToInt64(out.Parts[0].Size), len(k.good))
	}
	return ""
}

// round has all kinds begun at p, which is c.plain or restarted for it, and returns
// them. The good objects are made before begun is called.
func (c *cuts) round(way string, number int, p *proxy, before func()) []*cut {
	c.Helper()
	all := kinds()
	for i, k := range all {
		k.prepare(c, fmt.Sprintf("%s %d", way, number), i)
	}
	before()
	var wg sync.WaitGroup
	var failed atomic.Bool
	for _, k := range all {
		wg.Go(func() {
			if err := k.begin(c, p); err != nil {
				c.Errorf("%s, %s: cannot begin: %v", way, k.name, err)
				failed.Store(true)
			}
		})
	}
	wg.Wait()
	if failed.Load() {
		c.FailNow()
	}
	return all
}

// judge waits until nothing goes on any more, and counts what is damaged.
func (c *cuts) judge(way string, damage map[string]int, all []*cut) {
	c.Helper()
	for _, k := range all {
		if k.conn != nil {
			_ = k.conn.Close()
		}
	}
	for _, store := range c.stores {
		store.awaitQuiet(c.T)
	}
	for _, k := range all {
		k.check(c, way, damage, c.stores[:]...)
	}
}

// report fails the test if anything was damaged.
func (c *cuts) report(way string, tried int, begun time.Time, damage map[string]int) {
	c.Helper()
	bad := 0
	for _, n := range damage {
		bad += n
	}
	c.Logf("%-32s %4d uploads cut, %d objects damaged, %.1f s", way+":", tried, bad, time.Since(begun).Seconds())
	if bad > 0 {
		c.Errorf("%s: %d objects damaged by %d cut uploads: %v", way, bad, tried, damage)
	}
}

// byClient has the clients cut them.
func (c *cuts) byClient(way string, cutOff func(*net.TCPConn)) {
	c.Helper()
	begun, damage, tried := time.Now(), map[string]int{}, 0
	for n := range c.rounds {
		all := c.round(way, n, c.plain, func() {})
		c.awaitArrival(c.T, c.plain, len(all), nil)
		each(len(all), func(i int) { cutOff(all[i].conn) })
		c.settled(c.plain)
		c.judge(way, damage, all)
		tried += len(all)
	}
	c.noRecords(way, c.plain)
	c.report(way, tried, begun, damage)
}

// noRecords: that a client went away is no divergence (R6).
func (c *cuts) noRecords(way string, p *proxy) {
	c.Helper()
	for _, r := range readSynclog(c.T, p.synclog) {
		if strings.HasPrefix(r.Key, way+" ") && !strings.Contains(r.Path, "uploadId") {
			c.Errorf("%s: a cut upload is recorded as a divergence: %v", way, r)
		}
	}
}

// wantNoYes cuts a connection in the ordinary way: no answer may say that all is well.
func (c *cuts) wantNoYes(conn *net.TCPConn) {
	if status, err := cutFIN(conn); err != nil || status/100 == 2 {
		c.Errorf("an upload that ended in its middle is answered %d, %v", status, err)
	}
}

func cutAll(conns []*net.TCPConn, cutOff func(*net.TCPConn)) {
	each(len(conns), func(i int) { cutOff(conns[i]) })
}

// byProxy ends the proxy under them.
func (c *cuts) byProxy(way, more string, end func(*proxy)) {
	c.Helper()
	begun, damage, tried := time.Now(), map[string]int{}, 0
	p := c.start(strings.ReplaceAll(way, " ", "-"), more)
	for n := range c.rounds {
		if n > 0 {
			p.run(c.T)
			c.ready(p)
		}
		all := c.round(way, n, p, func() {})
		c.awaitArrival(c.T, p, len(all), nil)
		end(p)
		c.judge(way, damage, all)
		tried += len(all)
	}
	c.report(way, tried, begun, damage)
}

// terminate tells the proxy to end, which it does with requests under way (R22).
func (c *cuts) terminate(p *proxy) {
	c.Helper()
	_ = p.process.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.process.done:
	case <-time.After(patience):
		c.Fatalf("the proxy did not end within %v of SIGTERM:\n%s", patience, p.process.output)
	}
	if code := p.process.cmd.ProcessState.ExitCode(); code != 0 {
		c.Errorf("the proxy ended with exit code %d", code)
	}
}

// frozen has a backend frozen while the uploads begin and end, and thawed then, or as
// late as when nothing is in flight any more.
func (c *cuts) frozen(way string, late bool, end func(p *proxy, conns []*net.TCPConn)) {
	c.Helper()
	begun, damage, tried := time.Now(), map[string]int{}, 0
	p := c.start(strings.ReplaceAll(way, " ", "-"), "ConnectionTimeout: 2s\nConnectionDialTimeout: 2s\n")
	victim := c.stores[1]
	for n := range c.rounds {
		if p.process.killed {
			p.run(c.T)
		}
		c.ready(p)
		all := c.round(way, n, p, func() { victim.process.freeze(c.T) })
		c.awaitArrival(c.T, p, len(all), victim)
		var conns []*net.TCPConn
		for _, k := range all {
			conns = append(conns, k.conn)
		}
		end(p, conns)
		if late {
			c.settled(p)
		}
		victim.process.thaw()
		if !p.process.killed {
			c.settled(p)
		}
		c.judge(way, damage, all)
		tried += len(all)
	}
	c.report(way, tried, begun, damage)
}

// stalled has a backend frozen until its legs are cut by StallTimeout, and thawed
// then: the clients send all, and are answered by way of the other one.
func (c *cuts) stalled() {
	c.Helper()
	const way, size, many = "StallTimeout", 16 * mib, 5 // more than a frozen backend's kernel takes
	begun, damage, tried, short := time.Now(), map[string]int{}, 0, 0
	p := c.start(way, "StallTimeout: 500ms\nConnectionDialTimeout: 10s\n")
	victim, data := c.stores[1], content(77, size)
	for n := range 2 * c.rounds * c.rounds { // 250, if full
		var all []*cut
		for i := range many {
			k := &cut{name: "stalled", style: []string{byHeader, byPresigned, byTrailer, byChunks}[i%4], length: size, absent: i%3 == 2, sent: 1}
			k.prepare(c, fmt.Sprintf("%s %d", way, n%2), i)
			all = append(all, k)
		}
		c.ready(p)
		victim.process.freeze(c.T)
		each(many, func(i int) {
			k := all[i]
			u, err := newUpload(p.addr, k.style, c.bucket, k.key, "", data)
			if err != nil {
				c.Fatal(err)
			}
			if status, err := u.whole(); status != 200 || err != nil {
				c.Errorf("an upload beside a frozen backend is answered %d, %v", status, err)
			}
		})
		c.settled(p)
		victim.process.thaw()
		for _, store := range c.stores {
			store.awaitQuiet(c.T)
		}
		for _, k := range all {
			if what := objectDamage(c, c.stores[0], k.key, data, false); what != "" {
				c.Errorf("%s: %q was acknowledged, and the other backend %v %s", way, k.key, c.stores[0], what)
			}
			if objectDamage(c, victim, k.key, data, false) != "" { // else it took all of it
				k.check(c, way, damage, victim)
				short++
			}
			for _, store := range c.stores {
				if _, err := store.direct.DeleteObject(c.Context(), &s3.DeleteObjectInput{Bucket: &c.bucket, Key: &k.key}); err != nil {
					c.Fatal(err)
				}
			}
		}
		tried += many
	}
	if short == 0 {
		c.Errorf("%s: the frozen backend took each of %d objects whole", way, tried)
	}
	var stalled int
	for _, r := range readSynclog(c.T, p.synclog) {
		if strings.Contains(r.Error, "stall") {
			stalled++
		}
	}
	c.Logf("%s: %d legs are recorded as stalled", way, stalled)
	if stalled == 0 {
		c.Errorf("%s: no leg was cut by it", way)
	}
	c.report(way, tried, begun, damage)
}

// silent begins uploads whose clients fall silent, and returns what waits until the
// proxy has given them up, and looks then.
func (c *cuts) silent(name string) func() {
	c.Helper()
	const way = "silence"
	p := c.start(way, "")
	begun, damage := time.Now(), map[string]int{}
	var all []*cut
	for n := range c.rounds {
		all = append(all, c.round(way, n, p, func() {})...)
	}
	c.awaitArrival(c.T, p, len(all), nil)
	return func() {
		c.Helper()
		p.awaitFor(c.T, 2*time.Minute, "it has given up silent clients", func(s status) bool { return s.InFlight == 0 })
		c.judge(way, damage, all)
		c.noRecords(way, p)
		c.report(name, len(all), begun, damage)
	}
}
