package inflight

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"runtime/debug"
	"sync/atomic"
	"unsafe"
)

// How a write, and its acknowledgement, are stored in a slot.

const headLen = 8

const (
	ackFixed  = 3*8 + 4 + 1
	ackMore   = 8 + 1 + 1
	ackWhen   = 8
	maxMethod = 16 // S3 knows none that is longer
)

var table = crc32.MakeTable(crc32.Castagnoli)

// Write is a write that was in flight.
type Write struct {
	Bucket, Key, Host, Target []byte
	// Method is empty in a table of an earlier version, which did not keep it, and where Host and
	// Target do not fit.
	Method string
	Ack    Ack
}

// Ack is what has to be known about a write that was acknowledged while it was still in flight to
// some backends; the journal's Entry has the same fields. A Seq of 0 means that it was not
// acknowledged; Owed, unless 0, are the only backends then that may have it.
type Ack struct {
	Seq, Owed uint64
	Order     uint32 // tells the list of backends that Owed goes by from another one
	Size      int64
	Method    string
	ETag, ID  []byte
	Took      uint64
	Aspect    uint8
	Flags     uint8
	// Answered is when the client was told, in the order of Seq; 0 if an earlier version did not
	// keep it.
	Answered uint64
	// Old says that an earlier version left the table: Took and Aspect are not known, and Flags
	// has that version's meaning.
	Old bool
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

// framed returns what follows a length and its own checksum.
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

func fillAck(p []byte, a *Ack) (err error) {
	defer unguard(debug.SetPanicOnFault(true), &err)
	store(p, 0) // of an earlier one
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

// seal makes valid the rest, which stands in p behind the head.
func seal(p, rest []byte) {
	binary.LittleEndian.PutUint32(p[4:], crc32.Checksum(rest, table))
	store(p, uint32(len(rest)))
}

// store sets a slot's length after, or before, everything else.
func store(p []byte, n uint32) {
	if n != 0 {
		var le [4]byte
		binary.LittleEndian.PutUint32(le[:], n)
		n = *(*uint32)(unsafe.Pointer(&le)) // the bytes are what is defined
	}
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&p[0])), n)
}

// unguard, deferred, returns an error for a mapped page that the system cannot provide, for
// example on a full file system that has to copy the page first; otherwise that would be a SIGBUS.
// old is what debug.SetPanicOnFault(true) returned.
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
