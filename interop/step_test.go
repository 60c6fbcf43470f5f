package interop

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// step is one step of the matrix: a bucket of its own on both stores, something a
// client does with it through the proxy, and the check that all adds up.
type step struct {
	*testing.T
	*world
	bucket    string
	multipart map[string]bool   // keys written in parts (R26)
	expected  map[string]string // keys whose records are right, and why
	apart     bool              // the stores disagree about a key itself: they are not compared with each other
}

// step runs do and then compares the stores.
func (w *world) step(t *testing.T, name string, do func(s *step)) {
	t.Run(name, func(t *testing.T) {
		if w.stuck {
			t.Fatal("a proxy did not settle in an earlier step")
		}
		w.buckets++
		s := &step{T: t, world: w, bucket: fmt.Sprintf("step-%d", w.buckets), multipart: map[string]bool{}, expected: map[string]string{}}
		if _, err := newSDK(w.plain.url, nil).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &s.bucket}); err != nil {
			t.Fatalf("cannot make a bucket: %v", err)
		}
		w.settle(t) // the bucket has to be on both
		do(s)
		s.addUp()
	})
}

// inParts notes that key was written by a multipart upload: it must be on one store,
// and the synclog must name it for the other.
func (s *step) inParts(key string) { s.multipart[key] = true }

// differs notes that a write to key may fail on one store, and why.
func (s *step) differs(key, why string) { s.expected[key] = why }

// addUp compares the stores: what they differ in must be named, and what is named
// must be a difference.
func (s *step) addUp() {
	s.Helper()
	onA, onB := s.compareNow()
	for _, each := range s.stores {
		if left := each.uploads(s.T, s.bucket); len(left) > 0 {
			s.Errorf("%v: uploads were left: %q", each, left)
		}
	}
	records := s.inBucket(s.T, s.bucket)
	completed := make(map[string]int)
	for _, r := range records {
		s.judge(r, onA, onB)
		if r.Error == errorMultipart {
			completed[r.Key]++
		}
	}
	for key := range s.multipart {
		if completed[key] != 1 {
			s.Errorf("%q was completed once, and recorded %d times", key, completed[key])
		}
		_, inA := onA[key]
		if _, inB := onB[key]; !inA && !inB {
			s.Errorf("%q is on no store", key)
		}
	}
}

// compareNow looks for differences that no record names.
func (s *step) compareNow() (onA, onB map[string]object) {
	s.Helper()
	s.settle(s.T)
	records := s.inBucket(s.T, s.bucket)
	onA, onB = s.stores[0].snapshot(s.T, s.bucket), s.stores[1].snapshot(s.T, s.bucket)
	if s.apart {
		return onA, onB
	}
	if (onA == nil) != (onB == nil) && !slices.ContainsFunc(records, func(r record) bool { return r.Key == "" }) {
		s.Errorf("bucket %s is on one store only, and no record names it", s.bucket)
	}
	seen := maps.Clone(onA)
	if seen == nil {
		seen = map[string]object{}
	}
	maps.Copy(seen, onB)
	for _, key := range slices.Sorted(maps.Keys(seen)) {
		s.compare(key, onA, onB, records)
	}
	return onA, onB
}

// compare looks at one key.
func (s *step) compare(key string, onA, onB map[string]object, records []record) {
	s.Helper()
	a, b := s.stores[0], s.stores[1]
	objectA, inA := onA[key]
	objectB, inB := onB[key]
	named := func(missing, present *store) bool {
		return slices.ContainsFunc(records, func(r record) bool { return r.names(missing, present, key) })
	}
	switch {
	case inA && inB:
		if objectA.differs(objectB) && !named(a, b) && !named(b, a) {
			s.Errorf("%q differs, and no record names it:\n%v: %+v\n%v: %+v", key, a, objectA, b, objectB)
		}
		if s.multipart[key] {
			s.Errorf("%q was written in parts, and is on both stores", key)
		}
	case inA && !named(b, a):
		s.Errorf("%q is on %v only, and no record names it: %+v", key, a, objectA)
	case inB && !named(a, b):
		s.Errorf("%q is on %v only, and no record names it: %+v", key, b, objectB)
	}
}

// judge looks at one record: nothing failed here, so there are few it may be.
func (s *step) judge(r record, onA, onB map[string]object) {
	s.Helper()
	missing, present := onA, onB
	if r.FailedHost == s.stores[1].addr {
		missing, present = onB, onA
	}
	switch {
	case r.Error == errorMultipart && s.multipart[r.Key]:
		_, there := missing[r.Key]
		if o, here := present[r.Key]; there || !here || "\""+r.ETag+"\"" != o.etag {
			s.Errorf("the stores hold %+v and %+v of %q, but the record says: %v", missing[r.Key], present[r.Key], r.Key, r)
		}
	case r.Error == errorConcurrent:
		s.Logf("two writes overlapped: %v", r)
	case s.expected[r.Key] != "":
		s.Logf("%s: %.400v", s.expected[r.Key], r)
	default:
		s.Errorf("a record tells of a failure where nothing failed: %v", r)
	}
}
