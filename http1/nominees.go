package http1

import "bytes"

// MaxNominees is how many names the Connection fields of one message may carry (R8).
const MaxNominees = 64

// Nominees are the fields that a message's Connection fields name: they go no further
// than it does (RFC 9110 §7.6.1). The zero value has none.
type Nominees struct {
	names map[string]struct{} // lower case; nil where there are none but close and keep-alive
	count int                 // of all names, repeated ones too
}

// Add takes the names in the value of a Connection field. It is false where there are
// too many.
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

// Any reports whether there are any.
func (n *Nominees) Any() bool { return n.names != nil }

// Has reports whether the field is one of them.
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
