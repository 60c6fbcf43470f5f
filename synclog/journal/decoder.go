package journal

import (
	"encoding/binary"

	"github.com/akubra/akubra/synclog/task"
)

// decoder reads a payload's fields. After the first missing one, all are empty, and end reports
// it.
type decoder struct {
	p    []byte
	bad  bool
	lean bool // a record's
}

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.p)) {
		d.bad = true
		d.p = nil
		return nil
	}
	p := d.p[:n:n]
	d.p = d.p[n:]
	return p
}

func (d *decoder) byte() byte {
	if p := d.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (d *decoder) uint16() uint16 {
	if p := d.take(2); p != nil {
		return binary.LittleEndian.Uint16(p)
	}
	return 0
}

func (d *decoder) uint32() uint32 {
	if p := d.take(4); p != nil {
		return binary.LittleEndian.Uint32(p)
	}
	return 0
}

func (d *decoder) uint64() uint64 {
	if p := d.take(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.p)
	if n <= 0 {
		d.take(uint64(len(d.p)) + 1)
		return 0
	}
	d.p = d.p[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.p)
	if n <= 0 {
		d.take(uint64(len(d.p)) + 1)
		return 0
	}
	d.p = d.p[n:]
	return v
}

func (d *decoder) bytes() []byte { return d.take(d.uvarint()) }

func (d *decoder) names() []string {
	n := d.uvarint()
	if n > maxNames {
		d.take(uint64(len(d.p)) + 1)
		return nil
	}
	names := make([]string, n)
	for i := range names {
		names[i] = string(d.bytes())
	}
	return names
}

func (d *decoder) end() error {
	if d.bad || len(d.p) > 0 {
		return errPayload
	}
	return nil
}

// etags undoes appendETags.
func (d *decoder) etags() (list []task.BackendETag) {
	n := d.uvarint()
	if n > maxNames {
		d.bad = true
	}
	for ; n > 0 && !d.bad; n-- {
		list = append(list, task.BackendETag{Backend: int(d.byte()), ETag: d.bytes()})
	}
	return list
}
