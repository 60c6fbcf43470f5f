// Package inflight keeps which keys are being written in a file that is mapped
// into memory, so that a process that is killed leaves behind what it was about:
// whatever it had sent to one backend and not yet to another (R20). Neither Begin
// nor End calls the system. After a power cut the file tells nothing certain; a
// write that had not been acknowledged then may have come to one backend alone.
//
// The file is a row of slots of SlotSize bytes, all free when they are zero:
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
// aux says what aspect and flags say now; the first tables had no more than that, and
// later ones no answered.
//
// Both parts are written from the back to the front, so that one which its writer
// did not live to complete is empty, or has a wrong checksum: the write had not
// begun, or was not acknowledged.
//
// The file grows by chunks with the writes that are under way, up to a bound, and is
// given back some time after a peak (R23): a chunk without a write is cut off at the
// file's end, and is a hole elsewhere. Slots near the beginning are taken first.
//
// A Table may be used from any goroutine. End and Acknowledge never wait for a disk,
// nor for who does: they run where others must not be kept waiting.
package inflight

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// SlotSize is what a write may take: S3's longest key (1,024 bytes) fits with a
// bucket, a host name and a target of the same length, percent-encoded in part. The
// last ackSize of it are for its acknowledgement.
const (
	SlotSize = 4 << 10
	ackSize  = 256
	ackAt    = SlotSize - ackSize
)

// chunkSlots come into being together: 1 MiB.
const (
	chunkSlots = 256
	chunkSize  = chunkSlots * SlotSize
)

// DefaultMax is how many writes may be under way at once: 128 MiB of them.
const DefaultMax = 32 << 10

// trimAfter is how long chunks without a write are kept, for the next peak. One is kept
// for good.
const trimAfter = time.Second

const headLen = 8

// ErrTooLong: bucket, key, host and target do not fit into a slot. Even without
// host and target they do not, so they are no S3 object's.
var ErrTooLong = errors.New("inflight: bucket and key are too long")

// ErrFull: as many writes are under way as the table takes.
var ErrFull = errors.New("inflight: too many writes are under way")

var table = crc32.MakeTable(crc32.Castagnoli)

// Write is one that was under way.
type Write struct {
	Bucket, Key, Host, Target []byte
	// Method is empty in a table of an earlier version, where it was not kept, and as
	// Host and Target where it does not fit.
	Method string
	Ack    Ack
}

// Ack is what has to be known of a write that was acknowledged while it was still
// under way to some backends: the journal's Entry has the same fields. A Seq of 0
// stands for no acknowledgement.
type Ack struct {
	Seq, Owed uint64
	Order     uint32 // tells the list of backends that Owed goes by from another one
	Size      int64
	Method    string
	ETag, ID  []byte
	Took      uint64
	Aspect    uint8
	Flags     uint8
	// Answered is when the client was told, in the order of Seq; 0 where an earlier version
	// did not keep it.
	Answered uint64
	// Old: of a table that an earlier version has left: Took and Aspect are not known, and
	// Flags are its own.
	Old bool
}

// Table is an open file of slots.
type Table struct {
	// chunks are mapped; one is nil that is not there. Changed under mu; what it points
	// to never is, so that a slot is found without a lock.
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

// chunk is what is free of one.
type chunk struct{ free []uint8 }

// Open reads what an earlier process left in the file and, once forget has taken
// it, empties it. forget must have made it durable when it returns nil; it is not
// called for nothing. The file has room for some writes then. One process may have
// it open.
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

// read gives the writes of all slots that are whole.
func read(f *os.File) (left []Write, err error) {
	slot := make([]byte, SlotSize)
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

func parse(slot []byte) (w Write, ok bool) {
	rest, ok := framed(slot)
	if !ok {
		return w, false
	}
	for _, field := range []*[]byte{&w.Bucket, &w.Key, &w.Host, &w.Target} {
		if rest, ok = cut(rest, field); !ok {
			return w, false
		}
	}
	var method []byte
	if _, ok := cut(rest, &method); ok {
		w.Method = string(method)
	}
	if rest, ok := framed(slot[ackAt:]); ok {
		w.Ack = parseAck(rest)
	}
	return w, true
}

func parseAck(rest []byte) (a Ack) {
	if len(rest) < ackFixed {
		return a
	}
	le := binary.LittleEndian
	a.Seq, a.Owed, a.Size = le.Uint64(rest), le.Uint64(rest[8:]), int64(le.Uint64(rest[16:]))
	a.Order, a.Flags, a.Old = le.Uint32(rest[24:]), rest[28], true
	rest = rest[ackFixed:]
	var method []byte
	for _, field := range []*[]byte{&method, &a.ETag, &a.ID} {
		var ok bool
		if rest, ok = cut(rest, field); !ok {
			return Ack{}
		}
	}
	a.Method = string(method)
	if len(rest) >= ackMore {
		a.Took, a.Aspect, a.Flags, a.Old = le.Uint64(rest), rest[8], rest[9], false
		if rest = rest[ackMore:]; len(rest) >= ackWhen {
			a.Answered = le.Uint64(rest)
		}
	}
	return a
}

// framed gives what follows a length and its own checksum.
func framed(p []byte) (rest []byte, ok bool) {
	n := int(binary.LittleEndian.Uint32(p))
	if n == 0 || n > len(p)-headLen {
		return nil, false
	}
	rest = p[headLen : headLen+n]
	return rest, crc32.Checksum(rest, table) == binary.LittleEndian.Uint32(p[4:])
}

// cut takes a field off p.
func cut(p []byte, field *[]byte) (rest []byte, ok bool) {
	if len(p) < 2 {
		return nil, false
	}
	n := int(binary.LittleEndian.Uint16(p))
	if p = p[2:]; n > len(p) {
		return nil, false
	}
	*field = append([]byte(nil), p[:n]...)
	return p[n:], true
}

// Begin notes a write; what goes to a backend goes after it. A host or target that
// does not fit is left out; w.Ack does not count. An error is ErrTooLong, or the
// system's when the file has to grow: the write must not go on then.
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

// SetMax bounds how many writes may be under way at once.
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

// End notes that the write is over.
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
	at := int(slot%chunkSlots) * SlotSize
	return (*t.chunks.Load())[slot/chunkSlots][at : at+SlotSize]
}

// Acknowledge notes that the client is about to be told of the write, which is still
// under way. An ETag and ID that do not fit are left out. The error is the system's.
// It must not be called after, or while, the slot's End is.
func (t *Table) Acknowledge(slot int32, a *Ack) error {
	if len(a.Method)+len(a.ETag)+len(a.ID) > ackSize-headLen-ackFixed-3*2-ackMore-ackWhen {
		short := *a
		short.Method, short.ETag, short.ID = short.Method[:min(len(short.Method), maxMethod)], nil, nil
		a = &short
	}
	return fillAck(t.slot(slot)[ackAt:], a)
}

func fillAck(p []byte, a *Ack) (err error) {
	defer unguard(debug.SetPanicOnFault(true), &err)
	rest := p[headLen:headLen]
	rest = binary.LittleEndian.AppendUint64(rest, a.Seq)
	rest = binary.LittleEndian.AppendUint64(rest, a.Owed)
	rest = binary.LittleEndian.AppendUint64(rest, uint64(a.Size))
	rest = binary.LittleEndian.AppendUint32(rest, a.Order)
	rest = append(rest, 0)
	rest = appendField(rest, a.Method)
	rest = appendField(rest, a.ETag)
	rest = appendField(rest, a.ID)
	rest = binary.LittleEndian.AppendUint64(rest, a.Took)
	rest = append(rest, a.Aspect, a.Flags)
	seal(p, binary.LittleEndian.AppendUint64(rest, a.Answered))
	return nil
}

const (
	ackFixed  = 3*8 + 4 + 1
	ackMore   = 8 + 1 + 1
	ackWhen   = 8
	maxMethod = 16 // S3 knows none that is longer
)

func fill(p []byte, method string, bucket, key, host, target []byte) (err error) {
	defer unguard(debug.SetPanicOnFault(true), &err)
	store(p[ackAt:], 0)
	rest := p[headLen:headLen]
	rest = appendField(rest, bucket)
	rest = appendField(rest, key)
	rest = appendField(rest, host)
	rest = appendField(rest, target)
	if method != "" {
		rest = appendField(rest, method)
	}
	seal(p, rest)
	return nil
}

func empty(p []byte) (err error) {
	defer unguard(debug.SetPanicOnFault(true), &err)
	store(p, 0)
	return nil
}

func appendField[T string | []byte](p []byte, field T) []byte {
	p = binary.LittleEndian.AppendUint16(p, uint16(len(field)))
	return append(p, field...)
}

// seal makes rest, which stands in p behind the head, valid.
func seal(p, rest []byte) {
	binary.LittleEndian.PutUint32(p[4:], crc32.Checksum(rest, table))
	store(p, uint32(len(rest)))
}

// store sets a slot's length after, or before, all else.
func store(p []byte, n uint32) {
	if n != 0 {
		var le [4]byte
		binary.LittleEndian.PutUint32(le[:], n)
		n = *(*uint32)(unsafe.Pointer(&le)) // the bytes are what is defined
	}
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&p[0])), n)
}

// unguard, deferred, makes an error of a mapped page that the system cannot give, as on
// a file system that is full and has to copy the page first: it would be a SIGBUS. old is
// what debug.SetPanicOnFault(true) gave.
func unguard(old bool, err *error) {
	debug.SetPanicOnFault(old)
	if p := recover(); p != nil {
		fault, ok := p.(interface{ Addr() uintptr })
		if !ok {
			panic(p)
		}
		*err = fmt.Errorf("inflight: cannot write at address %#x: the file system gives no page", fault.Addr())
	}
}

// grow adds a chunk, where nothing is free. Its pages are written, not only promised, so
// that they are there when they are needed.
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

// lacking is the first chunk that is not there, of so many, or -1 where none is needed.
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

// trim gives back the chunks that have no write, but for the first one.
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
			// Where there are no holes, the next one to need it writes over it.
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

// Len is the number of writes under way.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.used
}

// Close lets go of the file. No write may be under way.
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
