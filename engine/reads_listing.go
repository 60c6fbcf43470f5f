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

// owedIn counts what each backend owes of a bucket, and gives those that owe something.
func (r *request) owedIn(counts []int) (owed uint64) {
	r.e.o.Journal.OwedIn(r.head.target.Bucket, counts)
	for late := r.e.ofBuckets.late(r.head.target.Bucket); late != 0; late &= late - 1 {
		counts[bits.TrailingZeros64(late)]++
	}
	for b, n := range counts {
		if n > 0 {
			owed |= 1 << b
		}
	}
	return owed
}

// expect makes counts, of what each backend owes in the bucket to be listed, the order in which they come into
// question where each of them owes something: what is under way there now it is as good as known to have. Of that
// the listing waits for what began before it, at the backends in awaited; what began later is no part of it.
func (r *request) expect(counts []int) (awaited uint64) {
	pool := r.e.inPool()
	for s := pool; s != 0; s &= s - 1 {
		if counts[bits.TrailingZeros64(s)] == 0 {
			return 0
		}
	}
	if len(r.head.bucket()) == 0 {
		return 0
	}
	r.e.writes.acknowledgedIn(r.head.bucket(), func(out uint64, begun requestID) {
		if begun.before(r.head.id) {
			awaited |= out
		}
		for s := out & pool; s != 0; s &= s - 1 {
			b := bits.TrailingZeros64(s)
			counts[b] = max(counts[b]-1, 0)
		}
	})
	for b := range counts {
		counts[b] *= 2 // so that of two the one comes first that is not waited for
		if awaited&(1<<b) != 0 {
			counts[b]++
		}
	}
	return awaited
}

// acknowledgedIn tells f of each key of the bucket to which writes are under way that their clients may have been
// told about: at which backends, and which of them began first.
func (o *overlaps) acknowledgedIn(bucket []byte, f func(out uint64, begun requestID)) {
	for i := range o.shards {
		last, out, begun := uint64(0), uint64(0), requestID(0)
		tell := func() {
			if out != 0 {
				f(out, begun)
			}
		}
		o.shards[i].hasTurn(func(t *turn) bool {
			at := t.out.Load()
			if t.r == nil || t.reads || at == 0 || !t.r.ledger.isAnswered() || !bytes.Equal(t.r.head.bucket(), bucket) {
				return false
			}
			if t.hash != last {
				tell()
				last, out, begun = t.hash, 0, t.r.head.id
			}
			if out |= at; t.r.head.id.before(begun) {
				begun = t.r.head.id
			}
			return false
		})
		tell()
	}
}
