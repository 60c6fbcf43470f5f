package model

import (
	"net/http"
	"strings"

	"github.com/akubra/akubra/internal/ledger"
	"github.com/akubra/akubra/synclog/journal"
	"github.com/akubra/akubra/synclog/task"
)

// The door between the modelled engine and the journal, as internal/service makes it for
// the engine. What is owed is what the engine's whoLacks says.

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
	e.Overlapped = p.fence.overlapped(name(w.bucket, w.keys[i].key))
	return e
}

func (p *proxy) intend(w *write, i int, legs []leg, winner int) error {
	e := p.entry(w, i, legs, winner)
	e.Unacknowledged = !legs[winner].took(i)
	if err := p.journal.Intend(&e); err != nil {
		return err
	}
	w.keys[i].seq = e.Seq
	ack := ledger.AckOf(&e, ledger.OrderOf(names))
	return p.table.Acknowledge(w.keys[i].slot, &ack)
}

func (p *proxy) settle(w *write, i int, legs []leg, winner int, overlapped uint64) {
	e := p.entry(w, i, legs, winner)
	if e.Owed == 0 {
		e.Owed, e.Reason = overlapped, []byte("concurrent writes")
	}
	e.Seq, e.Unacknowledged = w.keys[i].seq, !legs[winner].took(i)
	p.journal.Settle(&e)
	_ = p.journal.Flush()
}

// writeDown is for what was not intended before.
func (p *proxy) writeDown(w *write, i int, legs []leg, winner int, overlapped uint64) {
	e := p.entry(w, i, legs, winner)
	if e.Owed == 0 {
		e.Owed, e.Reason = overlapped, []byte("concurrent writes")
	}
	if winner < 0 || !legs[winner].took(i) {
		perhaps := false
		for j := range legs {
			perhaps = perhaps || legs[j].took(i) || legs[j].unsure
			if legs[j].unsure {
				e.Owed |= 1 << j
			}
		}
		if !perhaps {
			return
		}
		e.Seq = 0
		e.Unacknowledged = true
	}
	_ = p.journal.Promise([]journal.Entry{e})
}
