package journal

import (
	"bytes"

	"github.com/akubra/akubra/synclog/task"
)

// Records of journals that kept one write per key: they are read as far as they say anything, and
// rewritten in today's form when their key changes or their segment is cleaned.

// Flags of an old record's write.
const (
	oldSubresource    = 1 << 0
	oldUnacknowledged = 1 << 1
	oldOverlapped     = 1 << 2
	oldVersion        = 1 << 3
	oldDoubt          = 1 << 6 // a write that nobody was told of came later
	oldMixed          = 1 << 7 // writes of content and of subresources stand behind it
)

// oldAspect is the aspect of a write that is known by the flags of an old record. The table of
// writes in flight had the same flags.
func oldAspect(e *Entry, aux uint8) task.Aspect {
	if aux&oldVersion != 0 && e.Method != "" {
		return task.Version
	}
	return task.AspectOf(e.Method, e.Target, e.Key, aux&oldSubresource != 0)
}

type oldRecord struct {
	e             Entry
	aux, flags    byte
	first, closes uint64
	tries         uint64
	notBefore     int64
	failures      []byte
}

func (o *oldRecord) parse(d *decoder, state bool) error {
	e := &o.e
	e.Seq = d.uint64()
	o.aux, o.flags = d.byte(), d.byte()
	e.Owed = d.uvarint()
	e.Size = d.varint()
	if state {
		o.first, o.closes = d.uint64(), d.uint64()
		o.tries, o.notBefore = d.uvarint(), d.varint()
	}
	e.Method = methodName(d.bytes())
	for _, field := range []*[]byte{&e.Bucket, &e.Key, &e.Target, &e.Host, &e.ETag, &e.ID, &e.Reason} {
		*field = d.bytes()
	}
	if state {
		o.failures = d.bytes()
	}
	if e.Seq >= maxSeq || o.first >= maxSeq || o.closes >= maxSeq {
		return errPayload
	}
	e.Aspect = oldAspect(e, o.aux)
	e.Overlapped = o.aux&oldOverlapped != 0
	e.Unacknowledged = o.aux&oldUnacknowledged != 0
	return d.end()
}

// took returns who has taken a write, as far as that was known: every backend that does not owe
// it.
func (o *oldRecord) took(all uint64) uint64 {
	if o.e.Unacknowledged || o.e.Aspect == task.Version || o.e.Aspect == task.Found {
		return 0
	}
	return all &^ o.e.Owed
}

func parseOldIntent(e *Entry, d *decoder, all uint64) error {
	var o oldRecord
	err := o.parse(d, false)
	*e = o.e
	e.Took = o.took(all)
	return err
}

// parseOldState turns a record that stood for all writes of a key into one of today's. If it may
// have stood for others as well, the result says so.
func (r *record) parseOldState(d *decoder, all uint64) error {
	var o oldRecord
	if err := o.parse(d, true); err != nil {
		return err
	}
	e := &o.e
	e.Took = o.took(all)
	r.bucket, r.key = e.Bucket, e.Key
	if len(e.Key) == 0 {
		r.target = e.Target
	}
	r.first, r.closes, r.tries, r.notBefore = o.first, o.closes, o.tries, o.notBefore
	if r.lastError = o.failures; o.flags&1 != 0 {
		r.parked = []byte(task.Failed)
	}
	if e.Unacknowledged {
		r.rivals = append(r.rivals, *e)
	} else {
		r.writes = append(r.writes, *e)
	}
	if o.aux&oldDoubt != 0 {
		r.rivalsLost |= 1 << task.Content
	}
	if e.Aspect == task.Version {
		r.targetsLost, r.rivalsLost = true, 1<<task.Content
	}
	if o.aux&oldMixed != 0 || len(e.Key) > 0 && (o.aux&oldSubresource != 0 || e.Aspect == task.Version && !e.Unacknowledged) {
		// Its content, and others of its subresources, may be owed as well.
		r.rivals = append(r.rivals, Entry{
			Seq: e.Seq, Aspect: task.Content, Unacknowledged: true, Owed: e.Owed,
			Bucket: e.Bucket, Key: e.Key, Target: bytes.Clone(e.Target), Host: e.Host, Reason: e.Reason,
		})
		r.rivalsLost = allAspects
	}
	return nil
}
