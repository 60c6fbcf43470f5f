package model

import (
	"net/http"
	"strings"

	"github.com/akubra/akubra/internal/ledger"
	"github.com/akubra/akubra/synclog/inflight"
	"github.com/akubra/akubra/synclog/journal"
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
	switch {
	case version:
		e.Aux |= journal.AuxVersion
	case w.key != "" && w.query != "" && !strings.Contains(w.query, "uploadId="):
		e.Aux |= journal.AuxSubresource
	}
	if winner >= 0 && w.query != "delete" {
		e.ETag = []byte(legs[winner].etag)
	}
	for j := range legs {
		l := &legs[j]
		switch {
		case !l.ended:
			e.Owed |= 1 << j
			e.Open = true
		case !l.took(i), version: // ids are one backend's own
			e.Owed |= 1 << j
			e.Reason = []byte("lacks it")
		case winner >= 0 && l.etag != legs[winner].etag && !p.sloppy && w.method != http.MethodDelete:
			e.Owed |= 1<<j | 1<<winner
			e.Reason = []byte("etag mismatch")
		}
	}
	if p.fence.overlapped(name(w.bucket, w.keys[i].key)) {
		e.Aux |= journal.AuxOverlapped
	}
	return e
}

func (p *proxy) intend(w *write, i int, legs []leg, winner int) error {
	e := p.entry(w, i, legs, winner)
	if !legs[winner].took(i) {
		e.Aux |= journal.AuxUnacknowledged
	}
	if err := p.journal.Intend(&e); err != nil {
		return err
	}
	w.keys[i].seq = e.Seq
	return p.table.Acknowledge(w.keys[i].slot, &inflight.Ack{
		Seq: e.Seq, Owed: e.Owed, Order: ledger.OrderOf(names), Size: e.Size, Aux: e.Aux, Method: e.Method, ETag: e.ETag,
	})
}

func (p *proxy) settle(w *write, i int, legs []leg, winner int, overlapped uint64) {
	e := p.entry(w, i, legs, winner)
	if e.Owed == 0 {
		e.Owed, e.Reason = overlapped, []byte("concurrent writes")
	}
	p.journal.Settle(w.keys[i].seq, e.Owed, e.Reason)
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
		}
		if !perhaps {
			return
		}
		e.Seq = 0
		e.Aux |= journal.AuxUnacknowledged
	}
	_ = p.journal.Promise([]journal.Entry{e})
}
