package ring

import (
	"math/bits"
	"sync"
)

// Size classes are powers of two: a small object takes only the memory it needs. Other sizes work
// but are not pooled.
const (
	minClass = 12 // 4 KiB
	maxClass = 26 // 64 MiB
)

var pools [maxClass + 1]sync.Pool

// SizeFor returns the ring size for a message of n bytes in total when a ring may have limit bytes:
// the smallest size class that holds the message, or limit.
func SizeFor(n int64, limit int) int {
	if n >= int64(limit) {
		return limit
	}
	class := max(bits.Len64(uint64(max(n, 1)-1)), minClass)
	return min(1<<class, limit)
}

// poolOf returns the pool of rings of exactly size bytes, or nil.
func poolOf(size int) *sync.Pool {
	class := bits.Len(uint(max(size, 1))) - 1
	if size != 1<<class || class < minClass || class > maxClass {
		return nil
	}
	return &pools[class]
}

func fromPool(size int) *Ring {
	if pool := poolOf(size); pool != nil {
		if r, ok := pool.Get().(*Ring); ok {
			return r
		}
	}
	r := &Ring{buf: make([]byte, size), space: make(chan struct{}, 1)}
	r.data.L = &r.mu
	return r
}

func toPool(r *Ring) {
	if pool := poolOf(len(r.buf)); pool != nil {
		pool.Put(r)
	}
}
