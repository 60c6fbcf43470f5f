package engine

import (
	"github.com/akubra/akubra/http1"
	"github.com/akubra/akubra/s3"
)

// hashOfTarget identifies bucket and key, however they are spelled: R19's table uses it. FNV-1a
// over the decoded bytes.
func hashOfTarget(t *s3.Target) uint64 {
	return hashUnescaped(hashBucket(t.Bucket), t.Key)
}

// hashKey is the hash of a decoded bucket and key.
func hashKey[T string | []byte](bucket T, key string) uint64 {
	return hashOf(hashBucket(bucket), key)
}

// hashBucket is the beginning of the hash of every key in the bucket.
func hashBucket[T string | []byte](bucket T) uint64 {
	return hashOf(hashOf(14695981039346656037, bucket), "/")
}

func hashOf[T string | []byte](h uint64, s T) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

func hashUnescaped(h uint64, s []byte) uint64 {
	for i := 0; i < len(s); i++ {
		b := s[i]
		if b == '%' && i+2 < len(s) {
			hi, lo := http1.Unhex(s[i+1]), http1.Unhex(s[i+2])
			if hi < 16 && lo < 16 {
				b, i = hi<<4|lo, i+2
			}
		}
		h = (h ^ uint64(b)) * 1099511628211
	}
	return h
}
