package engine

import (
	"bytes"
	"math/bits"

	"github.com/akubra/akubra/s3"
)

// A page of a listing says where the next one begins, in some listings with a token of the
// backend's own, for which another backend would begin anywhere. So such pages are answered by the
// backend that gave the token, as parts are by the owner of their upload (R26). First pages, and
// pages whose token was never seen here, are asked of every backend.

// maxPages bounds how many tokens are remembered.
const maxPages = 1 << 16

// maxToken bounds a token with its element, in bytes.
const maxToken = 4 << 10

// pageKey is the key under which a token is remembered.
func (r *request) pageKey(token string) string { return string(r.head.target.Bucket) + "/" + token }

// pageScanner finds the tokens in an answer as it passes. Its zero value is ready to use.
type pageScanner struct{ carry []byte }

// feed scans the next piece of the answer.
func (s *pageScanner) feed(piece []byte, found func(token string)) {
	s.carry = append(s.carry, piece...)
	for _, p := range s3.PageTokens {
		if token := s3.Text(s.carry, p.Element); len(token) > 0 {
			found(s3.UnescapeText(token))
		}
	}
	if n := len(s.carry) - maxToken; n > 0 {
		s.carry = s.carry[:copy(s.carry, s.carry[n:])]
	}
}

// learnPages remembers the tokens in a piece of the listing that the backend sends.
func (r *request) learnPages(s *pageScanner, piece []byte, backend int) {
	if bytes.IndexByte(piece, '<') < 0 && len(s.carry) == 0 {
		return
	}
	s.feed(piece, func(token string) { r.e.pages.Put(r.pageKey(token), backend) })
}

// owedIn is the set of backends that owe something in a bucket.
func (r *request) owedIn() uint64 {
	var all listingLack
	_, _, owed := all.of(r)
	return owed
}

// listingLack is what the backends lack of a listing (R30).
//
// A write that was acknowledged is under way to a backend until the journal knows how it has ended
// there, and owed from then on if it has failed. So a listing goes to a backend that owes as little
// as any, and waits until what was acknowledged before it began is under way to that one no more. If
// that takes long it counts as owed.
type listingLack struct {
	counts   []int
	last     uint64 // the last write that was acknowledged before; 0: the journal was not asked yet
	patience briefPatience
	over     bool // the patience
}

// of looks at it anew. It gives how many keys each backend owes, which of them are to be waited for,
// and which lack anything.
func (l *listingLack) of(r *request) (owes []int, late, lacking uint64) {
	n := len(r.e.o.Backends)
	if l.counts == nil {
		l.counts = make([]int, 2*n)
	}
	clear(l.counts)
	owes, underWay := l.counts[:n], l.counts[n:]
	l.last = r.e.o.Journal.OwedApart(r.head.target.Bucket, l.last, owes, underWay)
	for set := r.e.ofBuckets.late(r.head.target.Bucket); set != 0; set &= set - 1 {
		underWay[bits.TrailingZeros64(set)]++
	}
	for b := range n {
		if underWay[b] > 0 {
			late |= 1 << b
		}
		if owes[b] > 0 {
			lacking |= 1 << b
		}
		if l.over {
			owes[b] += underWay[b]
		}
	}
	if l.over {
		return owes, 0, lacking | late
	}
	return owes, late, lacking | late
}

// wait waits for a moment.
func (l *listingLack) wait(e *Engine) { l.over = !l.patience.wait(e) }
