package journal

// open is an intent whose legs are out. It keeps its record's payload, because a settlement must
// not wait for a disk.
type open struct {
	seq     uint64
	hash    uint32 // of bucket and key
	used    bool
	at      place // zero: not in the log yet (intend)
	typ     byte  // of payload
	payload []byte
	lacking uint64 // backends that the write is owed, for reads
	leaving uint64 // the same of a bucket's removal
	removes bool
	bucket  *bucketCount // where that is counted, if there are any
	// In the bucket's list, which is in the order of numbers: from 1, in which they were added.
	before, after uint32
	number        uint64

	// Intents with the same hash are in the order of seq: requests for the same key over and over
	// cost no more than others.
	older, newer uint32
	chain        chain // of the oldest
	queued       bool  // in opens.unlogged; also once it is not used any more
}

// chain is what the oldest intent with a hash knows about all of them.
type chain struct {
	newest   uint32
	unlogged int
}

func (o *open) logged() bool { return o.at.seg != 0 }

// opens are the open intents. They are few, because they are requests in flight.
type opens struct {
	list  []open
	free  []uint32
	bySeq table
	byKey table // the oldest of each hash
	bytes int64
	added uint64 // the last number that was given
	// unlogged are those that may not be in the log, each once.
	unlogged []uint32
}

type bySeq struct{ *opens }
type byKey struct{ *opens }

func (o bySeq) hashOf(id uint32) uint32 { return hashSeq(o.list[id].seq) }
func (o byKey) hashOf(id uint32) uint32 { return o.list[id].hash }

func hashSeq(seq uint64) uint32 { return uint32(seq * 0x9e3779b97f4a7c15 >> 32) }

func (o *opens) len() int { return o.bySeq.used }

func (o *opens) find(seq uint64) (id uint32, ok bool) {
	for i, id, ok := o.bySeq.first(hashSeq(seq)); ok; i, id, ok = o.bySeq.after(i) {
		if o.list[id].seq == seq {
			return id, true
		}
	}
	return 0, false
}

func (o *opens) add(seq uint64, hash uint32, at place, typ byte, payload []byte) (id uint32) {
	if n := len(o.free); n > 0 {
		id, o.free = o.free[n-1], o.free[:n-1]
	} else {
		id = uint32(len(o.list))
		o.list = append(o.list, open{})
	}
	e := &o.list[id]
	e.seq, e.hash, e.at, e.typ, e.used = seq, hash, at, typ, true
	e.payload = append(e.payload[:0], payload...)
	o.bySeq.insert(bySeq{o}, id)
	o.link(id)
	o.bytes += int64(at.size)
	if !e.logged() && !e.queued {
		e.queued = true
		o.unlogged = append(o.unlogged, id)
	}
	return id
}

// enter adds an intent to its bucket's list, as the newest.
func (o *opens) enter(id uint32) {
	e := &o.list[id]
	b := e.bucket
	o.added++
	e.number, e.before, e.after = o.added, b.last, noOpen
	if b.last == noOpen {
		b.first = id
	} else {
		o.list[b.last].after = id
	}
	b.last = id
}

// leave takes it out.
func (o *opens) leave(id uint32) {
	e := &o.list[id]
	if e.before == noOpen {
		e.bucket.first = e.after
	} else {
		o.list[e.before].after = e.after
	}
	if e.after == noOpen {
		e.bucket.last = e.before
	} else {
		o.list[e.after].before = e.before
	}
}

// oldest is the first intent with this hash, or noOpen.
func (o *opens) oldest(hash uint32) uint32 {
	for i, id, ok := o.byKey.first(hash); ok; i, id, ok = o.byKey.after(i) {
		if o.list[id].hash == hash {
			return id
		}
	}
	return noOpen
}

// link adds an intent to its hash's chain. Most are the newest in it.
func (o *opens) link(id uint32) {
	e := &o.list[id]
	e.older, e.newer = noOpen, noOpen
	first := o.oldest(e.hash)
	if first == noOpen {
		e.chain = chain{newest: id}
		o.byKey.insert(byKey{o}, id)
	} else {
		e.older = o.list[first].chain.newest
		for e.older != noOpen && o.list[e.older].seq > e.seq {
			e.newer = e.older
			e.older = o.list[e.older].older
		}
		if e.newer == noOpen {
			o.list[first].chain.newest = id
		} else {
			o.list[e.newer].older = id
		}
		if e.older == noOpen {
			e.chain = o.list[first].chain
			o.byKey.replace(e.hash, first, id)
		} else {
			o.list[e.older].newer = id
		}
	}
	if !e.logged() {
		o.list[o.oldest(e.hash)].chain.unlogged++
	}
}

func (o *opens) unlink(id uint32) {
	e := &o.list[id]
	first := o.oldest(e.hash)
	c := &o.list[first].chain
	if !e.logged() {
		c.unlogged--
	}
	if e.newer != noOpen {
		o.list[e.newer].older = e.older
	} else {
		c.newest = e.older
	}
	switch {
	case e.older != noOpen:
		o.list[e.older].newer = e.newer
	case e.newer != noOpen:
		o.list[e.newer].chain = *c
		o.byKey.replace(e.hash, id, e.newer)
	default:
		o.byKey.remove(byKey{o}, id)
	}
}

// toldLog records that an intent is now in the log.
func (o *opens) toldLog(e *open) {
	o.list[o.oldest(e.hash)].chain.unlogged--
	o.bytes += int64(e.at.size)
}

// After a peak little memory is kept (R23): large payloads are dropped once so many intents have
// ended, and the list once there are none.
const (
	keptOpens   = 1 << 10
	keptPayload = 512
)

// remove ends an intent. Its payload stays as it is until the next add.
func (o *opens) remove(id uint32) {
	e := &o.list[id]
	o.bySeq.remove(bySeq{o}, id)
	o.unlink(id)
	o.bytes -= int64(e.at.size)
	e.seq, e.at, e.used = 0, place{}, false
	o.free = append(o.free, id)
	if n := cap(e.payload); n > 4<<10 || n > keptPayload && len(o.free) > keptOpens {
		e.payload = nil // whoever removes it still has it
	}
	if o.len() == 0 && len(o.list) > 4*keptOpens {
		*o = opens{added: o.added}
	}
}

// noOpen is not the id of any intent.
const noOpen = 1<<32 - 1

// inFlight reports whether a key with this hash may have an open intent other than but.
func (o *opens) inFlight(hash, but uint32) bool {
	first := o.oldest(hash)
	return first != noOpen && (first != but || o.list[first].newer != noOpen)
}

// each calls fn for the open intents, in no particular order, until it returns false.
func (o *opens) each(fn func(id uint32, e *open) bool) {
	for id := range o.list {
		if e := &o.list[id]; e.used && !fn(uint32(id), e) {
			return
		}
	}
}
