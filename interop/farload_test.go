package interop

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// farLink is a far way to a store: a process of package internal/testkit/farlink.
type farLink struct{ addr, control string }

func newFarLink(t *testing.T, to string, args ...string) *farLink {
	t.Helper()
	p := startProcess(t, serverBinary(t, "farlink"), nil, append([]string{"-to", to, "-control", "127.0.0.1:0"}, args...)...)
	l := &farLink{}
	p.await(t, "the link has its addresses", func(context.Context) bool {
		lines := strings.Fields(p.output.String())
		if len(lines) < 2 {
			return false
		}
		l.addr, l.control = lines[0], "http://"+lines[1]
		return true
	})
	return l
}

func (l *farLink) order(t *testing.T, order string) {
	t.Helper()
	answer, err := http.Post(l.control+"/"+order, "", nil) //nolint:noctx // a process of our own
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("the link answers %d to %q", answer.StatusCode, order)
	}
}

// carried is how many bytes have gone to the store.
func (l *farLink) carried(t *testing.T) int64 {
	t.Helper()
	answer, err := http.Get(l.control) //nolint:noctx // the same
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var s struct{ There struct{ Carried int64 } }
	if err := json.NewDecoder(answer.Body).Decode(&s); err != nil {
		t.Fatal(err)
	}
	return s.There.Carried
}

// farLoad is one near store, and far ones behind links, with two proxies: one before all of them, and one
// before the near one alone.
type farLoad struct {
	*divergence
	all   []*store
	links []*farLink // to all[1:]
	near  *proxy
	http  *http.Client
}

func newFarLoad(t *testing.T, far int, more string, linkArgs ...string) *farLoad {
	t.Helper()
	w := &world{dir: t.TempDir()}
	f := &farLoad{http: &http.Client{Transport: newTransport(nil)}}
	f.http.Transport.(*http.Transport).MaxIdleConnsPerHost = 1000
	t.Cleanup(f.http.CloseIdleConnections)
	var urls, weights []string
	for i := range 1 + far {
		s := newStore(t, versitygw, filepath.Join(w.dir, fmt.Sprintf("store%d", i)), 0, "", nil)
		f.all = append(f.all, s)
		url, weight := "http://"+s.addr, 10
		if i > 0 {
			l := newFarLink(t, s.addr, linkArgs...)
			f.links = append(f.links, l)
			url, weight = "http://"+l.addr, 1
		}
		urls, weights = append(urls, url), append(weights, fmt.Sprintf("%q: %d", url, weight))
	}
	copy(w.stores[:], f.all)
	if !strings.Contains(more, "ReadPolicy:") {
		more += "ReadPolicy: prefer\n"
	}
	f.divergence = newDivergenceIn(t, w, fmt.Sprintf("Backends: [%s]\nReadFrom: {%s}\nRepair: {Enabled: true}\nConnectionDialTimeout: 3s\nConnectionTimeout: 30s\nConnLimit: 8000\nSyncLogMethods: [PUT, POST, DELETE]\n%s",
		strings.Join(urls, ", "), strings.Join(weights, ", "), more))
	f.near = w.newProxy(t, "near", "", fmt.Sprintf("Backends: [%s]\n", urls[0]))
	f.near.await(t, "it is ready", func(s status) bool { return s.Ready })
	if _, err := f.all[0].direct.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: new("near-alone")}); err != nil {
		t.Fatal(err)
	}
	return f
}

// request sends one, and returns its answer's status, or 0.
func (f *farLoad) request(p *proxy, method, bucket, key string, data []byte) int {
	req, _, err := newSigned(method, byHeader, p.addr, bucket, key, "", data)
	if err != nil {
		f.Errorf("cannot sign: %v", err)
		return 0
	}
	answer, err := f.http.Do(req)
	if err != nil {
		return 0
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode
}

// times are how long requests took.
type times []time.Duration

func (t times) at(share float64) time.Duration {
	if len(t) == 0 {
		return 0
	}
	return t[min(int(share*float64(len(t))), len(t)-1)]
}

func (t times) String() string {
	round := func(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }
	return fmt.Sprintf("%d, p50 %v, p99 %v, longest %v", len(t), round(t.at(.5)), round(t.at(.99)), round(t.at(1)))
}

// put has so many objects a second put, each when it is due, and whatever becomes of those before. Times count
// from when they were due. Each must be taken.
func (f *farLoad) put(p *proxy, bucket, name string, data []byte, rate float64, length time.Duration) times {
	f.Helper()
	n := int(rate * length.Seconds())
	took := make(times, n)
	begun := time.Now()
	var all sync.WaitGroup
	var mu sync.Mutex
	refused := map[int]int{}
	for i := range n {
		due := begun.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		time.Sleep(time.Until(due))
		key := fmt.Sprintf("%s %d", name, i)
		all.Go(func() {
			if status := f.request(p, http.MethodPut, bucket, key, data); status != http.StatusOK {
				mu.Lock()
				refused[status]++
				mu.Unlock()
			}
			took[i] = time.Since(due)
		})
	}
	all.Wait()
	if len(refused) > 0 {
		f.Errorf("of %d uploads some were not taken, by status: %v", n, refused)
	}
	slices.Sort(took)
	return took
}

// held is how many bytes a store has of the bucket.
func (f *farLoad) held(s *store) (n int64) {
	f.Helper()
	keys, err := s.keys(f.Context(), f.bucket)
	if err != nil {
		f.Fatal(err)
	}
	for _, o := range keys {
		n += *o.Size
	}
	return n
}

// caughtUp waits until nothing is owed, and returns how long that took; then all stores hold the same.
func (f *farLoad) caughtUp(most time.Duration) time.Duration {
	f.Helper()
	begun := time.Now()
	f.plain.awaitFor(f.T, most, "the far store has caught up", func(s status) bool { return s.Journal.Pending == 0 && s.InFlight == 0 })
	took := time.Since(begun)
	if r := f.command("verify", "--bucket", f.bucket); r.code != 0 {
		f.Errorf("they differ:\n%s", r.output)
	}
	return took
}

// metric is the proxy's figures of that name, by labels.
func (f *farLoad) metric(name string) map[string]float64 {
	f.Helper()
	answer, err := f.http.Get(f.plain.admin + "/metrics") //nolint:noctx // a process of our own
	if err != nil {
		f.Fatal(err)
	}
	defer answer.Body.Close()
	values := map[string]float64{}
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		rest, ok := strings.CutPrefix(lines.Text(), name+"{")
		labels, value, _ := strings.Cut(rest, "} ")
		if v, err := strconv.ParseFloat(value, 64); ok && err == nil && v != 0 {
			values[labels] = v
		}
	}
	return values
}

const megabit = 125_000 // bytes a second

// farCase is a load of uploads on a far link.
type farCase struct {
	name   string
	size   int
	link   int     // bytes a second
	times  float64 // what comes, of that
	far    int     // stores behind such a link
	args   []string
	length time.Duration
}

// TestR10FarLoad: whatever comes, clients are served as by the near store alone, each object is on the far one or
// owed, and it is there in the time that its bytes take. With INTEROP_FULL each case takes a minute, and figures
// have to be as the contract has them; else they are only told.
func TestR10FarLoad(t *testing.T) {
	cases := []farCase{
		{name: "1 KiB", size: kib, link: 2.5 * megabit, times: 2},
		{name: "64 KiB", size: 64 * kib, link: 25 * megabit, times: 2},
		{name: "1 MiB", size: mib, link: 100 * megabit, times: 2},
		{name: "16 MiB", size: 16 * mib, link: 100 * megabit, times: 2},
		{name: "100 MiB", size: 100 * mib, link: 100 * megabit, times: 2},
		{name: "below the rate, 64 KiB", size: 64 * kib, link: 25 * megabit, times: .8},
		{name: "25 times, 1 MiB", size: mib, link: 8 * megabit, times: 25},
		{name: "three stores, 1 MiB", size: mib, link: 50 * megabit, times: 2, far: 2},
		{name: "narrow there, 1 MiB", size: mib, link: 20 * megabit, times: 2, args: []string{"-back", "rate=12500000"}},
		{name: "narrow back, 1 MiB", size: mib, link: 100 * megabit, times: 2, args: []string{"-back", "rate=2500000"}},
	}
	for _, c := range cases {
		c.length = time.Minute
		if !full() {
			if c.size != mib || c.times != 2 || c.args != nil {
				continue
			}
			c.length = 4 * time.Second
		}
		t.Run(c.name, c.run)
	}
}

// farHead is about what of a small upload is not its body.
const farHead = 600

func (c farCase) run(t *testing.T) {
	f := newFarLoad(t, max(c.far, 1), "", append([]string{"-rate", fmt.Sprint(c.link)}, c.args...)...)
	data := content(1, c.size)
	rate := c.times * float64(c.link) / float64(c.size+farHead)
	f.put(f.near, "near-alone", "first", data, rate, c.length/10)
	// Side by side, since the machine may have other things to do meanwhile.
	var alone, both times
	var sides sync.WaitGroup
	begun := time.Now()
	sides.Go(func() { both = f.put(f.plain, f.bucket, "object", data, rate, c.length) })
	sides.Go(func() {
		time.Sleep(time.Duration(float64(time.Second) / rate / 2))
		alone = f.put(f.near, "near-alone", "object", data, rate, c.length)
	})
	sides.Wait()
	used := float64(f.links[0].carried(t)) / float64(c.link) / time.Since(begun).Seconds()
	written, owed := f.held(f.all[0]), int64(0)
	for _, s := range f.all[1:] {
		owed = max(owed, written-f.held(s))
	}
	needed := time.Duration(float64(owed) / float64(c.link) * float64(time.Second))
	behind := f.caughtUp(3*needed + 2*patience)
	carried := int64(0)
	for _, l := range f.links {
		carried = max(carried, l.carried(t))
	}
	well := float64(written) / float64(carried)
	divergences := f.metric("akubra_divergences_total")
	demotions := f.metric("akubra_backend_demotions_total")
	t.Logf("%s, %.1f/s: both %v; near alone %v; p50 %.2f, p99 %.2f; link used %.0f %%, %.0f %% well; %.0f MB owed, %.1f s, needed %.1f s; diverged %v, demotions %v, legs %v",
		c.name, rate, both, alone, both.at(.5).Seconds()/alone.at(.5).Seconds(), both.at(.99).Seconds()/alone.at(.99).Seconds(), 100*used, 100*well,
		float64(owed)/1e6, behind.Seconds(), needed.Seconds(), divergences, demotions, f.metric("akubra_legs_total"))
	if len(demotions) > 0 {
		t.Errorf("demotions: %v", demotions)
	}
	if c.times < 1 && len(divergences) > 0 {
		t.Errorf("below the rate: %v", divergences)
	}
	if !full() {
		return
	}
	if well < .9 && c.size >= 64*kib {
		t.Errorf("%.0f %% of the link's bytes belong to what came through", 100*well)
	}
	if c.times < 1 { // a client may be held back for as long as the far one needs
		return
	}
	for _, share := range []float64{.5, .99} {
		// So short a time is the machine's.
		if most := max(alone.at(share)*12/10, alone.at(share)+10*time.Millisecond); both.at(share) > most {
			t.Errorf("of %v of all uploads the slowest takes %v, which may be %v", share, both.at(share), most)
		}
	}
	if most := needed*11/10 + 2*time.Second; behind > most {
		t.Errorf("the far one caught up after %v, which may be %v", behind, most)
	}
}
