package journal

import (
	"bytes"
	"hash/crc32"
	"net/http"
	"strings"

	"github.com/akubra/akubra/internal/text"
	"github.com/akubra/akubra/synclog/inflight"
	"github.com/akubra/akubra/synclog/task"
)

// entryOf is what is known of a write that was under way when an earlier process ended. Which
// backends have it is known only if it was acknowledged.
func entryOf(w *inflight.Write, names []string) Entry {
	e := Entry{
		Bucket: w.Bucket, Key: w.Key, Host: w.Host, Target: text.HideSecrets(w.Target), Owed: 1<<len(names) - 1,
		Reason: []byte("in flight when the proxy died"), Unacknowledged: true,
	}
	a := &w.Ack
	if len(e.Key) == 0 && bytes.IndexByte(e.Target, '?') >= 0 {
		e.Aspect = task.Setting
	}
	if a.Seq == 0 {
		// A target with a query may name a part of the object. What a write to an unknown one did, as to
		// an upload, is not known, except that only a DELETE removes an object.
		switch of := task.AspectOf(http.MethodPut, e.Target, e.Key, true); { // for a DELETE, too, what its target names counts
		case len(e.Key) > 0 && w.Method != "" && of >= task.Tags && of <= task.LegalHold:
			e.Aspect, e.Method = of, w.Method
		case plainTarget(e.Target), len(e.Key) > 0 && w.Method != http.MethodDelete:
			e.Method = w.Method
		case w.Method == http.MethodDelete && of == task.Version:
			e.Aspect, e.Method = of, w.Method
		}
		if !a.Old && a.Owed != 0 && a.Order == orderOf(names) {
			e.Owed = a.Owed // the decider (R29)
		}
		return e
	}
	e.Seq, e.Answered, e.Method, e.ETag, e.ID, e.Size = a.Seq, a.Answered, a.Method, a.ETag, a.ID, a.Size
	e.Unacknowledged = false
	switch {
	case a.Old:
		e.Aspect = oldAspect(&e, a.Flags)
	default:
		e.Aspect = task.Aspect(a.Aspect)
		e.Overlapped, e.Unrepeatable = a.Flags&slotOverlapped != 0, a.Flags&slotUnrepeatable != 0
		e.Carried = task.Carried(a.Flags >> slotCarried & carriedBits)
	}
	if e.Aspect != task.Content && len(w.Target) == 0 {
		// It is not known which part it was: repair looks at the whole object.
		e.Aspect, e.Method, e.Unacknowledged = task.Content, "", true
	}
	if a.Order == orderOf(names) {
		e.Owed, e.Took = a.Owed, a.Took
		if !a.Old && a.Flags&slotMadeNull != 0 {
			e.MadeNull = e.Took
		}
	}
	return e
}

// plainTarget reports whether a target names no part of an object. Some clients add the
// operation's name (x-id) to each request.
func plainTarget(target []byte) bool {
	_, query, _ := bytes.Cut(target, []byte("?"))
	return len(query) == 0 || bytes.HasPrefix(query, []byte("x-id=")) && bytes.IndexByte(query, '&') < 0
}

// Flags of an acknowledgement in a slot.
const (
	slotOverlapped = 1 << iota
	slotUnrepeatable
	// The bits of task.Carried follow.
	slotCarried  = 2
	carriedBits  = 1<<3 - 1
	slotMadeNull = 1 << 5 // on all that took it; there is no room for version ids
)

// ackOf is what a slot has to say of a write that is acknowledged; order is orderOf the
// backends.
func ackOf(e *Entry, order uint32) inflight.Ack {
	a := inflight.Ack{
		Seq: e.Seq, Answered: e.Answered, Owed: e.Owed, Took: e.Took, Order: order, Size: e.Size, Aspect: uint8(e.Aspect), Method: e.Method, ETag: e.ETag, ID: e.ID,
	}
	if e.Overlapped {
		a.Flags |= slotOverlapped
	}
	if e.Unrepeatable {
		a.Flags |= slotUnrepeatable
	}
	if e.MadeNull != 0 && e.MadeNull == e.Took && len(e.Made) == 0 {
		a.Flags |= slotMadeNull
	}
	a.Flags |= uint8(e.Carried) << slotCarried
	return a
}

// orderOf distinguishes lists of backends: the bits of a mask are indexes of one list.
func orderOf(names []string) uint32 { return crc32.ChecksumIEEE([]byte(strings.Join(names, "\n"))) }
