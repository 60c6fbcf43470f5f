package model

import (
	"bytes"
	"context"
	"encoding/xml"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/ledger"
	"github.com/akubra/akubra/internal/testkit/s3mem"
	"github.com/akubra/akubra/synclog/inflight"
	"github.com/akubra/akubra/synclog/journal"
	"github.com/akubra/akubra/synclog/repair"
	"github.com/akubra/akubra/synclog/task"
)

const (
	all         = 1<<2 - 1 // of the backends
	journalDir  = "journal"
	legTimeout  = 10 * time.Second // ConnectionTimeout
	repairTries = 20
	primaryWait = time.Second // PrimaryWait
	briefWait   = time.Second
)

var names = []string{"A:80", "B:80"}

// proxy is one life of the process: the journal, the table and repair are the real ones,
// a write's way to the backends is the engine's in short.
type proxy struct {
	ctx     context.Context //nolint:containedctx // the process's
	kill    context.CancelCauseFunc
	config  *config.Config
	files   *memFS
	journal *journal.Journal
	repair  *repair.Repairer
	fence   *fence
	stores  []*s3mem.Storage
	sloppy  bool // ETags are no storage's business (R18)
	writes  sync.WaitGroup
	mu      sync.Mutex
	pairs   map[string][]task.BackendETag // what versions are called elsewhere, by the id that a client was told
}

// startProxy opens what an earlier life has left in files and dir.
func startProxy(files *memFS, dir string, stores []*s3mem.Storage, sloppy, repairs bool) (*proxy, error) {
	p := &proxy{config: &config.Config{DataDir: dir}, files: files, fence: newFence(), stores: stores, sloppy: sloppy}
	p.ctx, p.kill = context.WithCancelCause(context.Background())
	err := os.MkdirAll(p.config.JournalDir(), 0o700)
	if err != nil {
		return nil, err
	}
	p.journal, err = journal.Open(journal.Options{
		Dir: p.config.JournalDir(), Backends: names, FS: files, Writes: inflight.DefaultMax,
		SyncEvery: time.Second, WatchEvery: time.Hour, // a history may last for days
	})
	if err != nil {
		return nil, err
	}
	p.repair, err = repair.New(repair.Options{
		Backends: p.backends(), Journal: p.named(), Fence: p.fence, Concurrency: 2, MaxTries: repairTries,
		RetryMax: time.Minute, CopyBucketConfig: true, IgnoreETags: sloppy, LateWait: 2 * time.Second,
	})
	if err == nil && repairs {
		p.repair.Start()
	}
	return p, err
}

func (p *proxy) named() *ledger.NamedJournal {
	return &ledger.NamedJournal{Journal: p.journal, Names: names, Dir: p.config.DataDir}
}

func (p *proxy) backends() (all []repair.Backend) {
	for i, s := range p.stores {
		all = append(all, repair.Backend{Name: names[i], URL: "http://" + names[i], Transport: s})
	}
	return all
}

// end is a kill: what survives is what the files have at this moment. Everything else
// must be at rest or waiting (synctest.Wait).
func (p *proxy) end(newDir string) (*memFS, error) {
	files := p.files.survivor()
	slots, err := os.ReadFile(filepath.Join(p.config.JournalDir(), journal.InflightName))
	if err != nil {
		return nil, err
	}
	next := &config.Config{DataDir: newDir}
	if err := os.MkdirAll(next.JournalDir(), 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(next.JournalDir(), journal.InflightName), slots, 0o600); err != nil {
		return nil, err
	}
	for name, f := range files.files { // the directory has another name now
		delete(files.files, name)
		f.name = filepath.Join(next.JournalDir(), filepath.Base(name))
		files.files[f.name] = f
	}
	p.close()
	return files, nil
}

func (p *proxy) close() {
	p.kill(s3mem.ErrKilled)
	p.repair.Close()
	p.writes.Wait()
	_ = p.journal.Close() // its files are nobody's any more
}

// write is a client's request that changes something.
type write struct {
	method, bucket, key string // key is "" for a bucket, and for DeleteObjects
	query               string // of the target
	header              http.Header
	body                []byte
	from, cache         string // bucket/key that is copied, and with which metadata instead
	only                int    // the backend that it goes to, or -1
	keys                []one  // what it writes: one, but for DeleteObjects
	answered            atomic.Bool
	either              atomic.Bool // it copies beside a write to the source
	noted               *journal.Write
}

// one is one key of a write, with what becomes of it.
type one struct {
	key     string
	version string // of DeleteObjects
	seq     uint64
	told    uint64 // when its client was, with legs out
}

func (w *write) target() string {
	t := "/" + w.bucket
	if w.key != "" {
		t += "/" + (&url.URL{Path: w.key}).EscapedPath()
	}
	if w.query != "" {
		t += "?" + w.query
	}
	return t
}

// leg is what became of a write at one backend.
type leg struct {
	backend  int
	ended    bool
	positive bool
	unsure   bool // it may have taken it
	etag     string
	version  string
	failed   map[int]bool // keys of DeleteObjects that it did not delete
	locked   bool         // since a version is locked
}

// deletesVersion reports whether it deletes a version by its id.
func (w *write) deletesVersion() bool {
	id, named := strings.CutPrefix(w.query, "versionId=")
	return named && w.method == http.MethodDelete && id != "null" || w.query == "delete" && w.keys[0].version != ""
}

func (l *leg) took(key int) bool { return l.positive && !l.failed[key] }

// outcome is what a client hears, or no more than that it may have come to pass.
type outcome struct {
	acked []bool // by key
	maybe bool
	err   string
}

// do sends a write to the backends, keeps the journal and gives the client's answer
// (R1, R3, R20). over is called when all legs have ended.
func (p *proxy) do(w *write, over func()) outcome {
	p.writes.Add(1)
	defer p.writes.Done()
	if p.ctx.Err() != nil {
		over()
		return outcome{acked: make([]bool, len(w.keys)), err: "there is no proxy"}
	}
	p.fence.beginReading(w)
	for _, key := range w.fenced() {
		p.fence.begin(key, w)
	}
	for i := range w.keys {
		k := &w.keys[i]
		p.note(w, k.key, k.version)
		k.seq = p.journal.Stamp(time.Now())
	}
	legs, ended := p.launch(w)
	answer := make(chan outcome, 1)
	p.writes.Go(func() {
		p.follow(w, legs, ended, answer)
		over()
	})
	select {
	case o := <-answer:
		return o
	case <-p.ctx.Done():
		return outcome{acked: make([]bool, len(w.keys)), maybe: true, err: "the proxy was killed"}
	}
}

// fenced are the keys that the write is entered for in the table of overlaps.
func (w *write) fenced() (keys []string) {
	for _, k := range w.keys {
		keys = append(keys, name(w.bucket, k.key))
	}
	return keys
}

// launch starts the legs. One whose backend owes what is to be copied is not begun (R30).
func (p *proxy) launch(w *write) ([]leg, <-chan leg) {
	ended := make(chan leg, len(p.stores))
	legs := make([]leg, len(p.stores))
	ordered := w.fenced()
	old := p.removing(w.bucket)
	if w.from != "" && w.from != ordered[0] {
		ordered = append(ordered, w.from)
	}
	for i, s := range p.stores {
		legs[i].backend = i
		if w.only >= 0 && w.only != i || old&(1<<i) != 0 {
			legs[i].ended = true
			continue
		}
		if from, _, _ := strings.Cut(w.from, "/"); w.from != "" && (p.owes(i, w.from) || p.removing(from)&(1<<i) != 0) {
			legs[i].ended = true
			continue
		}
		mine, earlier := p.fence.queue(names[i], w, ordered)
		go func() {
			l := leg{backend: i, ended: true}
			for _, e := range earlier {
				<-e.done
			}
			p.send(&l, s, w)
			p.fence.dequeue(names[i], mine, ordered)
			ended <- l
		}()
	}
	return legs, ended
}

// removing are the backends that have the bucket as it was before its removal (engine/removal.go).
func (p *proxy) removing(bucket string) uint64 {
	old, underWay := p.journal.Removing([]byte(bucket))
	for until := time.Now().Add(briefWait); underWay != 0 && time.Now().Before(until) && p.ctx.Err() == nil; {
		time.Sleep(10 * time.Millisecond) // in the bubble
		old, underWay = p.journal.Removing([]byte(bucket))
	}
	return old
}

func (p *proxy) owes(backend int, key string) bool {
	bucket, key, _ := strings.Cut(key, "/")
	return (p.journal.Owed([]byte(bucket), []byte(key))|p.journal.OwedPart([]byte(bucket), []byte(key), []byte("/?tagging")))&(1<<backend) != 0
}

// send is a leg.
func (p *proxy) send(l *leg, s *s3mem.Storage, w *write) {
	ctx, cancel := context.WithTimeout(p.ctx, legTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, w.method, "http://"+s.Name+w.target(), bytes.NewReader(w.body))
	if err != nil {
		panic(err)
	}
	if w.header != nil {
		req.Header = w.header.Clone()
	}
	res, err := s.RoundTrip(req)
	if err != nil {
		l.unsure = ctx.Err() != nil // the message was out
		return
	}
	body, _ := io.ReadAll(res.Body)
	l.positive = res.StatusCode/100 == 2 && !bytes.Contains(body, []byte("<Error><Code>")) || w.query == "delete" && res.StatusCode == 200
	l.unsure = res.StatusCode >= 500 && res.StatusCode != 503
	l.etag = strings.Trim(res.Header.Get("ETag"), `"`)
	l.version = res.Header.Get("X-Amz-Version-Id")
	if l.etag == "" {
		l.etag = strings.Trim(strings.ReplaceAll(s3mem.Inside(string(body), "ETag"), "&quot;", `"`), `"`)
	}
	l.locked = bytes.Contains(body, []byte("<Code>AccessDenied</Code>"))
	if w.query == "delete" {
		var doc struct{ Error []struct{ Key string } }
		_ = xml.Unmarshal(body, &doc)
		l.failed = map[int]bool{}
		for i := range w.keys { // of which only the name is a leg's to read
			for _, e := range doc.Error {
				l.failed[i] = l.failed[i] || e.Key == w.keys[i].key
			}
		}
	}
}

// follow waits for the legs, promises, answers and settles (engine/promise.go).
func (p *proxy) follow(w *write, legs []leg, ended <-chan leg, answer chan<- outcome) {
	defer func() {
		for _, key := range w.fenced() {
			p.fence.leave(key)
		}
		p.fence.endReading(w)
		if w.noted != nil {
			w.noted.End()
		}
	}()
	out, winner := 0, -1
	for i := range legs {
		if !legs[i].ended {
			out++
		}
	}
	promised, locked, named := false, false, w.deletesVersion()
	var waits <-chan time.Time // for what others say of a version (R28)
	for out > 0 {
		waited := !named
		select {
		case <-waits:
			waited = true
		case l := <-ended:
			out--
			legs[l.backend] = l
			if named && l.positive && waits == nil {
				waits = time.After(primaryWait)
			}
			locked = locked || named && l.locked
			if l.positive && (winner < 0 || !promised && named && l.locked) {
				winner = l.backend
			}
		}
		if waited && winner >= 0 && !promised && !locked && out > 0 {
			promised = true
			if p.acknowledge(w, legs, winner) != nil {
				return
			}
			p.answer(w, legs, winner, answer)
		}
	}
	if locked && !promised && !legs[max(winner, 0)].locked {
		winner = -1
	}
	if p.ctx.Err() != nil {
		return // the process is dead
	}
	p.learnPair(w, legs, winner)
	p.settle(w, legs, winner, promised)
	if !promised {
		p.answer(w, legs, winner, answer)
	}
}

func (p *proxy) answer(w *write, legs []leg, winner int, answer chan<- outcome) {
	o := outcome{acked: make([]bool, len(w.keys))}
	for i := range legs {
		o.maybe = o.maybe || legs[i].positive || legs[i].unsure
	}
	if winner >= 0 {
		for i := range w.keys {
			o.acked[i] = legs[winner].took(i)
		}
		w.answered.Store(true)
	} else {
		o.err = "no backend took it"
	}
	answer <- o
}
