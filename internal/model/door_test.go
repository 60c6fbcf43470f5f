package model

import (
	"net/http"
	"strings"
	"time"

	"github.com/akubra/akubra/synclog/journal"
	"github.com/akubra/akubra/synclog/task"
)

// The door between the modelled engine and the journal, as internal/service makes it for
// the engine. What is owed is what engine/outcome says.

// entry is what the journal gets of one key of a write, as its legs stand.
func (p *proxy) entry(w *write, i int, legs []leg, winner int) journal.Entry {
	e := journal.Entry{
		Seq: w.keys[i].seq, Method: w.method, Target: []byte(w.target()), Bucket: []byte(w.bucket), Key: []byte(w.keys[i].key),
		Size: int64(len(w.body)),
	}
	version := strings.Contains(w.query, "versionId=") || w.keys[i].version != ""
	if w.query == "delete" {
		e.Method = http.MethodDelete
		if w.keys[i].version != "" {
			e.Target = append(e.Target, "&versionId="+w.keys[i].version...)
		}
	}
	if version {
		e.Aspect = task.Version
	} else {
		sub := w.key != "" && w.query != "" && !strings.Contains(w.query, "uploadId=")
		e.Aspect = task.AspectOf(e.Method, e.Target, e.Key, sub)
	}
	if winner >= 0 && w.query != "delete" {
		e.ETag = []byte(legs[winner].etag)
	}
	for j := range legs {
		l := &legs[j]
		if l.ended && l.took(i) {
			e.Took |= 1 << j
		}
		switch {
		case !l.ended:
			e.Owed |= 1 << j
			e.Open = true
		case !l.took(i), version: // ids are one backend's own
			e.Owed |= 1 << j
			e.Reason = []byte("lacks it")
		case winner >= 0 && l.etag != legs[winner].etag && w.query != "delete":
			e.ETags = append(e.ETags, task.BackendETag{Backend: j, ETag: []byte(l.etag)})
			if !p.sloppy {
				e.Owed |= 1<<j | 1<<winner
				e.Reason = []byte("etag mismatch")
			}
		}
	}
	if e.Aspect == task.Version {
		id := w.keys[i].version
		if _, query, ok := strings.Cut(w.query, "versionId="); ok {
			id = query
		}
		p.mu.Lock()
		e.ETags = p.pairs[name(w.bucket, id)]
		p.mu.Unlock()
	}
	e.Overlapped, e.OverlapKnown = p.fence.overlapped(name(w.bucket, w.keys[i].key), w)
	if e.Aspect == task.Content && e.Method == http.MethodPut && w.from == "" {
		for header, kind := range map[string]task.Carried{
			"X-Amz-Tagging": task.CarriedTags, "Cache-Control": task.CarriedMetadata,
			"X-Amz-Object-Lock-Legal-Hold": task.CarriedLock, "X-Amz-Object-Lock-Mode": task.CarriedLock,
		} {
			if w.header.Get(header) != "" {
				e.Carried |= kind
			}
		}
	}
	return e
}

// learnPair remembers what the others call the version that a write has made.
func (p *proxy) learnPair(w *write, legs []leg, winner int) {
	if winner < 0 || w.query != "" || w.key == "" || legs[winner].version == "" {
		return
	}
	var ids []task.BackendETag
	for i := range legs {
		if l := &legs[i]; i != winner && l.positive && l.version != "" {
			ids = append(ids, task.BackendETag{Backend: i, ETag: []byte(l.version)})
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pairs == nil {
		p.pairs = map[string][]task.BackendETag{}
	}
	p.pairs[name(w.bucket, legs[winner].version)] = ids
}

// note tells the journal that a key is about to be written.
func (p *proxy) note(w *write, key, version string) {
	method, target := w.method, []byte(w.target())
	if w.query == "delete" {
		method, target = http.MethodDelete, nil
		if version != "" {
			target = []byte(w.target() + "&versionId=" + version)
		}
	}
	if w.noted != nil {
		_ = w.noted.Add([]byte(w.bucket), []byte(key), target)
		return
	}
	w.noted, _ = p.journal.Begin(method, []byte(w.bucket), []byte(key), nil, target)
}

func (p *proxy) acknowledge(w *write, legs []leg, winner int) error {
	es := make([]journal.Entry, len(w.keys))
	for i := range w.keys {
		es[i] = p.entry(w, i, legs, winner)
		es[i].Unacknowledged = !legs[winner].took(i)
	}
	err := w.noted.Acknowledge(es)
	for i := range es {
		w.keys[i].told = es[i].Answered
	}
	return err
}

// settle tells the journal how a write has ended; promised: it was acknowledged while
// legs were out.
func (p *proxy) settle(w *write, legs []leg, winner int, promised bool) {
	var es, beside []journal.Entry
	for i := range w.keys {
		stored, more := p.overlap(w, i, legs, winner)
		e := p.entry(w, i, legs, winner)
		known := e.OverlapKnown
		e.OverlapKnown = known && len(more) == 0
		if e.Owed == 0 {
			e.Owed, e.Reason = stored, []byte("concurrent writes")
		}
		e.Unacknowledged = winner < 0 || !legs[winner].took(i)
		if !promised && e.Unacknowledged {
			perhaps := false
			for j := range legs {
				perhaps = perhaps || legs[j].took(i) || legs[j].unsure
				if legs[j].unsure {
					e.Owed |= 1 << j
				}
			}
			if !perhaps {
				continue
			}
			e.Seq = 0
		}
		es = append(es, e)
		if len(more) > 0 {
			beside = append(beside, more...)
			e.Owed, e.OverlapKnown = 0, known
			beside = append(beside, e)
		}
	}
	if len(es) > 0 && w.noted != nil {
		_ = w.noted.Settle(es)
		if len(beside) > 0 {
			w.noted.Beside(beside)
		}
	}
}

// overlap ends a key's part in the table of overlaps, and gives where it or another write
// that overlapped may be (R19), and the entries of those that the journal may not know.
func (p *proxy) overlap(w *write, i int, legs []leg, winner int) (uint64, []journal.Entry) {
	took, landed := uint64(0), false
	for j := range legs {
		if legs[j].took(i) {
			took |= 1 << j
		}
		landed = landed || legs[j].took(i) || legs[j].unsure
	}
	var known *journal.Entry
	if e := p.entry(w, i, legs, winner); e.Owed == 0 && winner >= 0 && legs[winner].took(i) {
		e.Answered = w.keys[i].told
		known, e.Overlapped, e.OverlapKnown, e.Settled = &e, true, true, p.journal.Stamp(time.Now())
	}
	stored, concurrent, beside := p.fence.end(name(w.bucket, w.keys[i].key), w, took, landed, known)
	if !concurrent {
		stored = 0
	}
	return stored, beside
}
