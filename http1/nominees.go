package http1

import "bytes"

// MaxNominees is how many names the Connection fields of one message may contain (R8).
const MaxNominees = 64

// Nominees are the fields named by a message's Connection fields, which must not be passed on (RFC
// 9110 §7.6.1). The zero value is empty.
type Nominees struct {
	names map[string]struct{} // lower case; nil if there are none besides close and keep-alive
	count int                 // of all names, including repeated ones
}

// Add adds the names in the value of a Connection field. It returns false if there are too many.
func (n *Nominees) Add(value []byte) bool {
	for len(value) > 0 {
		var name []byte
		name, value, _ = bytes.Cut(value, []byte(","))
		if name = TrimSpace(name); len(name) == 0 {
			continue
		}
		if n.count++; n.count > MaxNominees {
			return false
		}
		if EqualFold(name, "close") || EqualFold(name, "keep-alive") {
			continue
		}
		if n.names == nil {
			n.names = make(map[string]struct{})
		}
		n.names[string(lower(nil, name))] = struct{}{}
	}
	return true
}

// Any reports whether any field is nominated.
func (n *Nominees) Any() bool { return n.names != nil }

// Has reports whether the field is nominated.
func (n *Nominees) Has(name []byte) bool {
	if n.names == nil {
		return false
	}
	var buf [64]byte
	_, ok := n.names[string(lower(buf[:0], name))]
	return ok
}

// lower appends an ASCII field name in lower case.
func lower(dst, name []byte) []byte {
	for _, b := range name {
		if 'A' <= b && b <= 'Z' {
			b |= 0x20
		}
		dst = append(dst, b)
	}
	return dst
}
