package interop

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"
)

// value is an object that says itself whose it is and how it goes on, so that a short
// one, or one of two halves, or one of another key is known for what it is.
func value(key string, id int64, size int) []byte {
	rest := content(uint64(id), size)
	return append(fmt.Appendf(nil, "%q %d %d %x\n", key, id, size, sha256.Sum256(rest)), rest...)
}

// parseValue returns the id of what should be a value of key.
func parseValue(key string, data []byte) (id int64, err error) {
	head, rest, _ := bytes.Cut(data, []byte("\n"))
	var (
		name string
		size int
		sum  []byte
	)
	if _, err := fmt.Sscanf(string(head), "%q %d %d %x", &name, &id, &size, &sum); err != nil {
		return 0, fmt.Errorf("%d bytes that begin with %.60q are no value: %w", len(data), data, err)
	}
	actual := sha256.Sum256(rest)
	switch {
	case name != key:
		return id, fmt.Errorf("it is a value of another key, %q", name)
	case len(rest) != size:
		return id, fmt.Errorf("value %d has %d bytes of %d", id, len(rest), size)
	case !bytes.Equal(sum, actual[:]):
		return id, fmt.Errorf("value %d has other bytes than it should", id)
	}
	return id, nil
}

// deed is one write that a client has tried. Its effect, if it had one, was after
// begin, and before end if that is known: whoever was not told may see it later.
type deed struct {
	begin, end int64 // by the history's clock, which counts; end is 0 as long as it goes on
	id         int64 // of the value; 0 is a delete
	acked      bool
	cut        bool // it was never sent to its end
}

// history is all that clients did, and were told.
type history struct {
	mu    sync.Mutex
	clock int64
	ids   int64
	acked int
	byKey map[string][]*deed
}

// tick is a point in time.
func (h *history) tick() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock++
	return h.clock
}

// begin notes that a client has begun a write; a put has a new id.
func (h *history) begin(key string, put, cut bool) *deed {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock++
	d := &deed{begin: h.clock, cut: cut}
	if put {
		h.ids++
		d.id = h.ids
	}
	h.byKey[key] = append(h.byKey[key], d)
	return d
}

// ended notes what the client was told.
func (h *history) ended(d *deed, acked bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock++
	d.end, d.acked = h.clock, acked
	if acked {
		h.acked++
	}
}

// known reports whether anybody has sent such a value to its end.
func (h *history) known(key string, id int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.ContainsFunc(h.byKey[key], func(d *deed) bool { return d.id == id && !d.cut })
}

// allows reports whether a key may have been this (0: not there) at some time after
// since, if all that was acknowledged is in place: no acknowledged write has both
// begun after it and ended before since.
func (h *history) allows(key string, id, since int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := append([]*deed{{acked: true, end: 0}}, h.byKey[key]...) // at first there is nothing
	for i, d := range all {
		if d.id != id || d.cut {
			continue
		}
		end := d.end
		if i > 0 && end == 0 {
			return true // it may be happening now
		}
		if !slices.ContainsFunc(all, func(later *deed) bool {
			return later.acked && later.begin > end && later.end <= since
		}) {
			return true
		}
	}
	return false
}
