package journal

// open is an intent whose legs are under way. It keeps its record's payload: a
// settlement must not wait for a disk.
type open struct {
	seq     uint64
	hash    uint32 // of bucket and key
	used    bool
	at      place // zero: not in the log yet (Intend)
	payload []byte
}

func (o *open) logged() bool { return o.at.seg != 0 }

// opens are the open intents; few, as they are requests in flight.
type opens struct {
	list  []open
	free  []uint32
	bySeq table
	byKey table
	bytes int64
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

func (o *opens) add(seq uint64, hash uint32, at place, payload []byte) {
	var id uint32
	if n := len(o.free); n > 0 {
		id, o.free = o.free[n-1], o.free[:n-1]
	} else {
		id = uint32(len(o.list))
		o.list = append(o.list, open{})
	}
	e := &o.list[id]
	e.seq, e.hash, e.at, e.used = seq, hash, at, true
	e.payload = append(e.payload[:0], payload...)
	o.bySeq.insert(bySeq{o}, id)
	o.byKey.insert(byKey{o}, id)
	o.bytes += int64(at.size)
}

// remove ends an intent. Its payload stays as it is until the next add.
func (o *opens) remove(id uint32) {
	e := &o.list[id]
	o.bySeq.remove(bySeq{o}, id)
	o.byKey.remove(byKey{o}, id)
	o.bytes -= int64(e.at.size)
	e.seq, e.at, e.used = 0, place{}, false
	o.free = append(o.free, id)
	if cap(e.payload) > 4<<10 {
		e.payload = nil // whoever removes it still has it
	}
}

// noOpen is no id of an intent.
const noOpen = 1<<32 - 1

// inFlight tells whether a key with this hash may have an open intent other than
// but.
func (o *opens) inFlight(hash, but uint32) bool {
	for i, id, ok := o.byKey.first(hash); ok; i, id, ok = o.byKey.after(i) {
		if o.list[id].hash == hash && id != but {
			return true
		}
	}
	return false
}

// each calls fn for the open intents, in no order, until it says false.
func (o *opens) each(fn func(id uint32, e *open) bool) {
	for id := range o.list {
		if e := &o.list[id]; e.used && !fn(uint32(id), e) {
			return
		}
	}
}
