package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/akubra/akubra/internal/testkit/link"
)

// measureWan is measure for a case whose last backend is far away. Copies count from the warm-up on,
// which goes on until the window begins: otherwise the link would be idle then.
func (o *options) measureWan(ctx context.Context, c *Case, peer string, round int, stores []*process) (*Run, error) {
	near, far := stores[0], stores[len(stores)-1]
	each := link.Direction{Delay: c.Way.RoundTrip / 2, Rate: c.Way.Rate, Queue: int(c.Way.Queue), Loss: c.Way.Loss}
	way, err := link.New(far.addr, each, each)
	if err != nil {
		return nil, err
	}
	defer way.Close()
	p, err := startPeer(peer, o, c, []*process{near, {addr: way.Addr()}})
	if err != nil {
		return nil, err
	}
	defer p.stop()
	l := &load{
		dial: dialer(p.addr, nil), source: func(conn int) source { return newStubSource(c, p.addr, conn) },
		conns: c.Conns, rate: c.Rate, timeout: o.timeout, limit: c.Limit,
	}
	defer l.close()
	if err := l.open(); err != nil {
		return nil, err
	}
	if _, err := takeAll(stores); err != nil {
		return nil, err
	}
	began, writes, warmErrors := time.Now(), int64(0), map[string]int64(nil)
	if c.WarmUp > 0 {
		warm := l.run(ctx, c.WarmUp, nil)
		writes, warmErrors = warm.puts.Load(), warm.errors
		// Connections that it did not need may have waited too long for their first request.
		if err := l.reconnect(); err != nil {
			return nil, err
		}
	}
	before, err := p.usageBefore()
	if err != nil {
		return nil, err
	}
	stop := make(chan struct{})
	seen := &wanSeen{}
	watched := make(chan struct{})
	r := l.run(ctx, c.Duration, func(r *recorder) {
		go r.watch(p.rss, stop)
		go func() {
			defer close(watched)
			c.Way.cut(way, seen, p.admin, stop)
		}()
	})
	loaded, _ := way.Carried()
	seen.Used = float64(loaded) / float64(c.Way.Rate) / time.Since(began).Seconds()
	took := time.Since(r.start)
	close(stop)
	<-watched
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := awaitQuiet(way, far); err != nil {
		return nil, err
	}
	after, err := p.usage()
	if err != nil {
		return nil, err
	}
	run := newRun(c, peer, round, r, after.since(before))
	for kind, n := range warmErrors {
		run.Errors["warm-up: "+kind] = n
	}
	if c.Limit > 0 {
		run.Seconds = took.Seconds()
	}
	counts, err := takeAll(stores)
	if err != nil {
		return nil, err
	}
	if !drivesOne(peer) {
		copies := counts[len(counts)-1]
		seen.Writes, seen.Taken, seen.TakenBytes = writes+r.puts.Load(), copies.Puts, copies.Bytes
		seen.Carried, _ = way.Carried()
		run.Wan = seen
	}
	if run.Wan != nil && p.admin != "" {
		if err := seen.ask(p.admin); err != nil {
			return nil, err
		}
		if err := seen.check(); err != nil {
			run.Wrong = err.Error()
		}
	}
	run.setFigures()
	return run, nil
}

// cut cuts the link at the time set, and notes how the proxy reacts.
func (w *Way) cut(way *link.Link, seen *wanSeen, admin string, stop <-chan struct{}) {
	if w.CutFor == 0 {
		return
	}
	t := time.NewTimer(w.CutAt)
	defer t.Stop()
	pause := func() bool {
		select {
		case <-stop:
			return false
		case <-t.C:
			return true
		}
	}
	if !pause() {
		return
	}
	way.Cut()
	cut := time.Now()
	seen.Demoted = w.await(cut.Add(w.CutFor), admin, way.Addr(), 0, stop)
	t.Reset(time.Until(cut.Add(w.CutFor)))
	mend := pause()
	way.Mend(w.Forgets)
	if mend && seen.Demoted > 0 {
		seen.Back = w.await(time.Now().Add(time.Minute), admin, way.Addr(), 1, stop)
	}
}

// await waits until the proxy says that the far backend is in the pool (1) or not (0), and returns how
// long that took; 0 if it does not happen by the deadline.
func (w *Way) await(deadline time.Time, admin, addr string, up float64, stop <-chan struct{}) time.Duration {
	if admin == "" {
		return 0
	}
	begun := time.Now()
	for time.Now().Before(deadline) {
		values, err := scrapeAll(admin, "akubra_backend_up")
		for labels, v := range values {
			if err == nil && strings.Contains(labels, addr) && v == up {
				return time.Since(begun)
			}
		}
		select {
		case <-stop:
			return 0
		case <-time.After(20 * time.Millisecond):
		}
	}
	return 0
}

const (
	// quietFor is how long nothing may pass the link until it counts as quiet: longer than any round trip.
	quietFor  = 500 * time.Millisecond
	mostQuiet = 30 * time.Second
)

// awaitQuiet waits until nothing is on its way to the far backend.
func awaitQuiet(way *link.Link, far *process) error {
	last, since := [2]int64{-1, -1}, time.Now()
	for deadline := time.Now().Add(mostQuiet); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		n, err := far.seen()
		if err != nil {
			return err
		}
		carried, _ := way.Carried()
		if now := [2]int64{n, carried}; now != last {
			last, since = now, time.Now()
		}
		if time.Since(since) > quietFor {
			break
		}
	}
	return nil
}

// ask asks the proxy what it knows of divergences and demotions.
func (w *wanSeen) ask(admin string) error {
	divergences, err := scrapeAll(admin, "akubra_divergences_total")
	if err != nil {
		return err
	}
	w.Divergences = map[string]int64{}
	for labels, n := range divergences {
		if _, reason, ok := strings.Cut(labels, `reason="`); ok && n > 0 {
			w.Divergences[strings.TrimSuffix(reason, `"}`)] += int64(n)
		}
	}
	demotions, err := scrapeAll(admin, "akubra_backend_demotions_total")
	for _, n := range demotions {
		w.Demotions += int64(n)
	}
	return err
}

// scrapeAll reads a metric of the proxy's, by its labels.
func scrapeAll(admin, name string) (values map[string]float64, err error) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + admin + "/metrics")
	if err != nil {
		return nil, fmt.Errorf("cannot read the proxy's metrics: %w", err)
	}
	defer func() { err = errors.Join(err, answer.Body.Close()) }()
	values = map[string]float64{}
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), name)
		i := strings.LastIndexByte(rest, ' ')
		if !ok || i < 0 || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		values[rest[:i]], err = strconv.ParseFloat(rest[i+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("cannot read the proxy's metrics: %w", err)
		}
	}
	return values, lines.Err()
}
