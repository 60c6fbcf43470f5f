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
//	  3848     m  seq, owed and size (8 each), order (4), aux (1), and method, ETag
//	              and id as above
//
// Both parts are written from the back to the front, so that one which its writer
// did not live to complete is empty, or has a wrong checksum: the write had not
// begun, or was not acknowledged.
//
// A Table may be used from any goroutine; it has none of its own.
package inflight

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
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
const chunkSlots = 256

const headLen = 8

// ErrTooLong: bucket, key, host and target do not fit into a slot. Even without
// host and target they do not, so they are no S3 object's.
var ErrTooLong = errors.New("inflight: bucket and key are too long")

var table = crc32.MakeTable(crc32.Castagnoli)

// Write is one that was under way.
type Write struct {
	Bucket, Key, Host, Target []byte
	Ack                       Ack
}

// Ack is what has to be known of a write that was acknowledged while it was still
// under way to some backends: the journal's Entry has the same fields. A Seq of 0
// stands for no acknowledgement.
type Ack struct {
	Seq, Owed uint64
	Order     uint32 // tells the list of backends that Owed goes by from another one
	Size      int64
	Aux       uint8
	Method    string
	ETag, ID  []byte
}

// Table is an open file of slots.
type Table struct {
	chunks atomic.Pointer[[][]byte] // changed under mu; what it points to never is

	_    [64]byte // what each write changes is not in a cache line with it
	mu   sync.Mutex
	file *os.File
	free []int32
}

// Open reads what an earlier process left in the file and, once forget has taken
// it, empties it. forget must have made it durable when it returns nil; it is not
// called for nothing. The file has room for some writes then. One process may have
// it open.
func Open(path string, forget func([]Write) error) (*Table, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
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
	t := &Table{file: f}
	t.chunks.Store(new([][]byte))
	if err := t.growLocked(); err != nil { // a disk that is full is told of at the start
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
	a.Order, a.Aux = le.Uint32(rest[24:]), rest[28]
	rest = rest[ackFixed:]
	var method []byte
	for _, field := range []*[]byte{&method, &a.ETag, &a.ID} {
		var ok bool
		if rest, ok = cut(rest, field); !ok {
			return Ack{}
		}
	}
	a.Method = string(method)
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
func (t *Table) Begin(w Write) (slot int32, err error) {
	size := 4*2 + len(w.Bucket) + len(w.Key)
	if size > ackAt-headLen {
		return -1, ErrTooLong
	}
	if size+len(w.Host)+len(w.Target) > ackAt-headLen {
		w.Host, w.Target = nil, nil
	}
	t.mu.Lock()
	if len(t.free) == 0 {
		if err := t.growLocked(); err != nil {
			t.mu.Unlock()
			return -1, err
		}
	}
	slot = t.free[len(t.free)-1]
	t.free = t.free[:len(t.free)-1]
	t.mu.Unlock()
	if err := fill(t.slot(slot), &w); err != nil {
		return -1, err // the slot stays out of use
	}
	return slot, nil
}

// End notes that the write is over.
func (t *Table) End(slot int32) {
	if empty(t.slot(slot)) != nil {
		return
	}
	t.mu.Lock()
	t.free = append(t.free, slot)
	t.mu.Unlock()
}

func (t *Table) slot(slot int32) []byte {
	at := int(slot%chunkSlots) * SlotSize
	return (*t.chunks.Load())[slot/chunkSlots][at : at+SlotSize]
}

// Acknowledge notes that the client is about to be told of the write, which is still
// under way. An ETag and ID that do not fit are left out. The error is the system's.
// It must not be called after, or while, the slot's End is.
func (t *Table) Acknowledge(slot int32, a *Ack) error {
	if len(a.Method)+len(a.ETag)+len(a.ID) > ackSize-headLen-ackFixed-3*2 {
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
	rest = append(rest, a.Aux)
	rest = appendField(rest, a.Method)
	rest = appendField(rest, a.ETag)
	seal(p, appendField(rest, a.ID))
	return nil
}

const (
	ackFixed  = 3*8 + 4 + 1
	maxMethod = 16 // S3 knows none that is longer
)

func fill(p []byte, w *Write) (err error) {
	defer unguard(debug.SetPanicOnFault(true), &err)
	store(p[ackAt:], 0)
	rest := p[headLen:headLen]
	for _, field := range [4][]byte{w.Bucket, w.Key, w.Host, w.Target} {
		rest = appendField(rest, field)
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

// growLocked adds a chunk. Its pages are written, not only promised, so that they
// are there when they are needed.
func (t *Table) growLocked() error {
	if t.file == nil {
		return errors.New("inflight: closed")
	}
	const size = chunkSlots * SlotSize
	chunks := *t.chunks.Load()
	off := int64(len(chunks)) * size
	if n, err := t.file.WriteAt(make([]byte, size), off); err != nil || n < size {
		_ = t.file.Truncate(off)
		return fmt.Errorf("inflight: cannot grow: %w", err)
	}
	p, err := unix.Mmap(int(t.file.Fd()), off, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("inflight: cannot map: %w", err)
	}
	first := int32(len(chunks) * chunkSlots)
	chunks = append(chunks[:len(chunks):len(chunks)], p)
	t.chunks.Store(&chunks)
	for i := int32(chunkSlots - 1); i >= 0; i-- {
		t.free = append(t.free, first+i)
	}
	return nil
}

// Len is the number of writes under way.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(*t.chunks.Load())*chunkSlots - len(t.free)
}

// Close lets go of the file. No write may be under way.
func (t *Table) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	for _, p := range *t.chunks.Swap(new([][]byte)) {
		errs = append(errs, unix.Munmap(p))
	}
	errs = append(errs, t.file.Close())
	t.file, t.free = nil, nil
	return errors.Join(errs...)
}
