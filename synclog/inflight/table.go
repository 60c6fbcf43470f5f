// Package inflight keeps, in a file that is mapped into memory, which keys are being written. A
// process that is killed thus leaves behind what it was doing: whatever it had sent to one backend
// and not yet to another (R20). Neither Begin nor End makes a system call. After a power cut the
// file is not reliable; but a write that had not been acknowledged by then may be on one backend
// alone.
//
// The file is a row of slots of slotSize bytes; a free one is all zeros:
//
//	offset  size
//	     0     4  length n of the rest, little endian; 0 is a free slot
//	     4     4  CRC32C of the rest
//	     8     n  for each of bucket, key, host and target: its length (2), and its bytes
//	  3840     4  length m of the rest; 0 is a write that was not acknowledged
//	  3844     4  CRC32C of the rest
//	  3848     m  seq, owed and size (8 each), order (4), aux (1), method, ETag and id as
//	              above, then took (8), aspect (1), flags (1) and answered (8)
//
// The meaning of aux is now in aspect and flags. The first tables had only aux, and later ones had
// no answered.
//
// Both parts are written from back to front, so a part that its writer did not live to complete is
// empty or has a wrong checksum: the write had not begun, or was not acknowledged.
//
// The file grows by chunks with the number of writes in flight, up to a bound, and shrinks some
// time after a peak (R23): a chunk without a write is cut off at the file's end, and becomes a
// hole elsewhere. Slots near the beginning are taken first.
//
// Any goroutine may use a Table. End and Acknowledge never wait for a disk, nor for anybody who
// does: they are called where nobody may be kept waiting.
package inflight

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// slotSize is the size of a slot. S3's longest key (1,024 bytes) fits together with a bucket, a
// host name, and a target of the same length, partly percent-encoded. The last ackSize bytes are
// for the acknowledgement.
const (
	slotSize = 4 << 10
	ackSize  = 256
	ackAt    = slotSize - ackSize
)

// chunkSlots are created together: 1 MiB.
const (
	chunkSlots = 256
	chunkSize  = chunkSlots * slotSize
)

// FirstSize is the size of the file that Open makes.
const FirstSize = chunkSize

// DefaultMax is how many writes may be in flight at once; they take 128 MiB.
const DefaultMax = 32 << 10

// trimAfter is how long chunks without a write are kept for the next peak. One chunk is always
// kept.
const trimAfter = time.Second

// ErrTooLong: bucket and key do not fit into a slot even without host and target, so they cannot
// be those of an S3 object.
var ErrTooLong = errors.New("inflight: bucket and key are too long")

// ErrFull: as many writes are in flight as the table can hold.
var ErrFull = errors.New("inflight: too many writes are under way")

// Table is an open file of slots.
type Table struct {
	// chunks are mapped; one that does not exist is nil. The slice is changed under mu; what it
	// points to never is, so a slot is found without a lock.
	chunks atomic.Pointer[[][]byte]

	_ [64]byte // what each write changes is not in a cache line with it

	mu       sync.Mutex // never held over a system call
	state    []chunk    // as chunks
	low      int        // no chunk before it has a free slot
	used     int        // slots that are not free
	max      int        // of used
	idle     int        // chunks that are there and have no write
	trimming *time.Timer

	growing sync.Mutex // around what changes the file, which waits for the disk; before mu
	file    *os.File
}

// chunk holds what is free in one chunk.
type chunk struct{ free []uint8 }

// Open reads what an earlier process left in the file and, once forget has taken it, empties the
// file. When forget returns nil it must have made that durable; it is not called if there is
// nothing. The file then has room for some writes. Only one process may have it open.
func Open(path string, forget func([]Write) error) (*Table, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, fmt.Errorf("inflight: %w", err)
	}
	left, err := read(f)
	if err == nil && len(left) > 0 {
		err = forget(left)
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("inflight: cannot take over %q: %w", path, err)
	}
	t := &Table{file: f, max: DefaultMax}
	t.chunks.Store(new([][]byte))
	if err := t.grow(); err != nil { // a disk that is full is told of at the start
		_ = f.Close()
		return nil, err
	}
	return t, nil
}

// read returns the writes of all slots that are complete.
func read(f *os.File) (left []Write, err error) {
	slot := make([]byte, slotSize)
	for {
		switch _, err := io.ReadFull(f, slot); {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return left, nil
		case err != nil:
			return nil, err
		}
		if w, ok := parse(slot); ok {
			left = append(left, w)
		}
	}
}

// Begin records a write; nothing of it may go to a backend before. A host or target that does not
// fit is left out; w.Ack is ignored. The error is ErrTooLong, or the system's if the file has to
// grow: the write must not go on then.
func (t *Table) Begin(w *Write) (slot int32, err error) {
	size := 4*2 + len(w.Bucket) + len(w.Key)
	if size > ackAt-headLen {
		return -1, ErrTooLong
	}
	method := w.Method
	if len(method) > maxMethod || size+2+len(method) > ackAt-headLen {
		method = ""
	}
	if method != "" {
		size += 2 + len(method)
	}
	host, target := w.Host, w.Target
	if size+len(host)+len(target) > ackAt-headLen {
		host, target = nil, nil
	}
	for {
		var ok bool
		if slot, ok = t.take(); ok {
			break
		}
		if err := t.grow(); err != nil {
			return -1, err
		}
	}
	if err := fill(t.slot(slot), method, w.Bucket, w.Key, host, target); err != nil {
		return -1, err // the slot stays out of use
	}
	return slot, nil
}

// SetMax bounds how many writes may be in flight at once.
func (t *Table) SetMax(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.max = n
}

// take takes a free slot near the beginning.
func (t *Table) take() (slot int32, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.used >= t.max {
		return -1, false
	}
	for ; t.low < len(t.state); t.low++ {
		c := &t.state[t.low]
		n := len(c.free)
		if n == 0 {
			continue
		}
		if n == chunkSlots {
			t.idle--
		}
		slot = int32(t.low*chunkSlots + int(c.free[n-1]))
		c.free = c.free[:n-1]
		t.used++
		return slot, true
	}
	return -1, false
}

// End records that the write is over.
func (t *Table) End(slot int32) {
	if empty(t.slot(slot)) != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	at := int(slot / chunkSlots)
	c := &t.state[at]
	c.free = append(c.free, uint8(slot%chunkSlots))
	t.used--
	t.low = min(t.low, at)
	if len(c.free) == chunkSlots {
		if t.idle++; t.idle > 1 && t.trimming == nil {
			t.trimming = time.AfterFunc(trimAfter, t.trim)
		}
	}
}

func (t *Table) slot(slot int32) []byte {
	at := int(slot%chunkSlots) * slotSize
	return (*t.chunks.Load())[slot/chunkSlots][at : at+slotSize]
}

// Acknowledge records that the client is about to be told about the write, which is still in
// flight. An ETag and ID that do not fit are left out. The error is the system's. It must not be
// called during or after the slot's End.
func (t *Table) Acknowledge(slot int32, a *Ack) error {
	if len(a.Method)+len(a.ETag)+len(a.ID) > ackSize-headLen-ackFixed-3*2-ackMore-ackWhen {
		short := *a
		short.Method, short.ETag, short.ID = short.Method[:min(len(short.Method), maxMethod)], nil, nil
		a = &short
	}
	return fillAck(t.slot(slot)[ackAt:], a)
}

// grow adds a chunk if nothing is free. Its pages are written, not only reserved, so that they are
// there when they are needed.
func (t *Table) grow() error {
	t.growing.Lock()
	defer t.growing.Unlock()
	if t.file == nil {
		return errors.New("inflight: closed")
	}
	at, size, err := t.lacking()
	if at < 0 || err != nil {
		return err
	}
	off := int64(at) * chunkSize
	if n, err := t.file.WriteAt(make([]byte, chunkSize), off); err != nil || n < chunkSize {
		if at == size {
			_ = t.file.Truncate(off)
		}
		return fmt.Errorf("inflight: cannot grow: %w", err)
	}
	p, err := unix.Mmap(int(t.file.Fd()), off, chunkSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("inflight: cannot map: %w", err)
	}
	free := make([]uint8, chunkSlots)
	for i := range free {
		free[i] = uint8(chunkSlots - 1 - i)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	chunks := slices.Clone(*t.chunks.Load())
	if at == size {
		chunks, t.state = append(chunks, nil), append(t.state, chunk{})
	}
	chunks[at], t.state[at].free = p, free
	t.chunks.Store(&chunks)
	t.low = min(t.low, at)
	t.idle++
	return nil
}

// lacking is the first chunk, of so many, that does not exist, or -1 if none is needed.
func (t *Table) lacking() (at, size int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.used >= t.max {
		return -1, 0, ErrFull
	}
	chunks := *t.chunks.Load()
	for ; t.low < len(t.state); t.low++ {
		if len(t.state[t.low].free) > 0 {
			return -1, 0, nil // somebody else has grown it, or ended a write
		}
	}
	at = slices.IndexFunc(chunks, func(p []byte) bool { return p == nil })
	if at < 0 {
		at = len(chunks)
	}
	return at, len(chunks), nil
}

// trim gives back the chunks without a write, except for the first.
func (t *Table) trim() {
	t.growing.Lock()
	defer t.growing.Unlock()
	if t.file == nil {
		return
	}
	gone, size := t.takeIdle()
	for at, p := range gone {
		_ = unix.Munmap(p)
		if at < size {
			// Where holes are not supported, the next write to need it overwrites it.
			_ = punchHole(t.file, int64(at)*chunkSize, chunkSize)
		}
	}
	if len(gone) > 0 {
		_ = t.file.Truncate(int64(size) * chunkSize)
	}
}

// takeIdle takes them out of the table, which then has size chunks.
func (t *Table) takeIdle() (gone map[int][]byte, size int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trimming = nil
	gone = map[int][]byte{}
	chunks := slices.Clone(*t.chunks.Load())
	for at := len(chunks) - 1; at >= 0 && t.idle > 1; at-- {
		if len(t.state[at].free) == chunkSlots {
			gone[at], chunks[at], t.state[at].free = chunks[at], nil, nil
			t.idle--
		}
	}
	size = len(chunks)
	for size > 0 && chunks[size-1] == nil {
		size--
	}
	chunks, t.state = chunks[:size], t.state[:size]
	t.low = min(t.low, size)
	t.chunks.Store(&chunks)
	return gone, size
}

// Len is the number of writes in flight.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.used
}

// Close closes the file. No write may be in flight.
func (t *Table) Close() error {
	t.growing.Lock()
	defer t.growing.Unlock()
	t.mu.Lock()
	if t.trimming != nil {
		t.trimming.Stop()
		t.trimming = nil
	}
	chunks := *t.chunks.Swap(new([][]byte))
	t.state, t.low = nil, 0
	t.mu.Unlock()
	var errs []error
	for _, p := range chunks {
		if p != nil {
			errs = append(errs, unix.Munmap(p))
		}
	}
	errs = append(errs, t.file.Close())
	t.file = nil
	return errors.Join(errs...)
}
