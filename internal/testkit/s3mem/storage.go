// Package s3mem is an S3 backend in memory, for tests: with versions, locks, multipart uploads and
// whatever else clients use, with the peculiarities of real backends, and with everything that
// happens to them: one is down, frozen, full, wiped, restored from an older copy, or its disk rots.
//
// A Storage is an http.RoundTripper, which needs no socket and waits in a way that testing/synctest
// recognizes, and an http.Handler. storage.go has what it keeps and what happens to it, serve.go
// how a request reaches it, and the other files the requests.
package s3mem

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Manners are the ways in which a backend differs from S3.
type Manners struct {
	Lossy             bool          // silently drops tags, Cache-Control and locks
	Folders           bool          // SeaweedFS: "u/" exists while anything is below it; the content of "x/" is not kept
	Folds             bool          // "a//b" is "a/b"
	Guesses           bool          // guesses a Content-Type if none was sent
	Clock             time.Duration // how far its clock is ahead
	Date              time.Duration // how far the Date of its responses is ahead of that, such as a load balancer's
	IgnoresConditions bool          // ignores If-Match and If-None-Match
	OwnETags          bool          // 32 digits that are not an MD5, as from backends that encrypt
}

// State is the condition of a backend.
type State uint8

// Temporary conditions of a backend.
const (
	Well   State = iota
	Down         // connections are refused
	Frozen       // connections are accepted, but nothing is answered
)

// Storage is one backend. Any goroutine may use it.
type Storage struct {
	Name string
	// Delay, unless nil, returns how long a request and its response take on their way.
	Delay func() (there, back time.Duration)

	mu      sync.Mutex
	manners Manners
	state   State
	refuses int           // answers every write (503, 507) or every request (403) with this; 0 for none
	thawed  chan struct{} // closed when Frozen ends
	late    []func()      // requests whose sender gave up while it was frozen
	buckets map[string]*Bucket
	uploads map[string]*upload
	ids     int
}

// Bucket is a bucket. Storage.Bucket returns a copy.
type Bucket struct {
	Versioned bool
	Lock      bool
	Docs      map[string]string     // by subresource
	Keys      map[string][]*Version // newest first; never empty
}

// Version is one version of an object, or a delete marker. It is never modified, only replaced.
type Version struct {
	ID       string // "null" without versioning
	Marker   bool
	Body     []byte
	Header   http.Header // x-amz-meta-*, Cache-Control, …
	ETag     string      // without quotes
	Modified time.Time
	Parts    []int64           // sizes
	Docs     map[string]string // tagging, acl, retention, legal-hold
}

type upload struct {
	bucket, key string
	header      http.Header
	parts       map[int][]byte
}

// New makes a backend without buckets.
func New(name string, m Manners) *Storage {
	return &Storage{Name: name, manners: m, buckets: map[string]*Bucket{}, uploads: map[string]*upload{}}
}

// MakeBucket makes a bucket; lock implies versioned.
func (s *Storage) MakeBucket(name string, versioned, lock bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.makeBucket(name, versioned, lock)
}

func (s *Storage) makeBucket(name string, versioned, lock bool) {
	b := &Bucket{Versioned: versioned || lock, Lock: lock, Docs: map[string]string{}, Keys: map[string][]*Version{}}
	if b.Versioned {
		b.Docs["versioning"] = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
	}
	if lock {
		b.Docs["object-lock"] = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>"
	}
	s.buckets[name] = b
}

// Bucket returns the current state of a bucket, or nil.
func (s *Storage) Bucket(name string) *Bucket {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buckets[name].clone()
}

// Current returns an object's current version, or nil.
func (s *Storage) Current(bucket, key string) *Version {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buckets[bucket].current(s.fold(key))
}

// Versions returns an object's versions and delete markers, newest first.
func (s *Storage) Versions(bucket, key string) []*Version {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.buckets[bucket]; b != nil {
		return slices.Clone(b.Keys[s.fold(key)])
	}
	return nil
}

func (b *Bucket) current(key string) *Version {
	if b == nil || len(b.Keys[key]) == 0 || b.Keys[key][0].Marker {
		return nil
	}
	return b.Keys[key][0]
}

func (b *Bucket) clone() *Bucket {
	if b == nil {
		return nil
	}
	c := *b
	c.Docs, c.Keys = maps.Clone(b.Docs), maps.Clone(b.Keys)
	for k, stack := range c.Keys {
		c.Keys[k] = slices.Clone(stack)
	}
	return &c
}

func (v *Version) clone() *Version {
	c := *v
	c.Header, c.Docs = v.Header.Clone(), maps.Clone(v.Docs)
	return &c
}

// Set makes it Well, Down or Frozen. Some of the requests received while it was frozen were
// accepted; these are carried out first, whether their senders are still waiting or not.
func (s *Storage) Set(state State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == Frozen && state != Frozen {
		for _, do := range s.late {
			do()
		}
		close(s.thawed)
	}
	if state == Frozen && s.state != Frozen {
		s.thawed = make(chan struct{})
	}
	s.state, s.late = state, nil
}

// Refuse makes it answer all writes (503, 507) or all requests (403) with this status; 0 ends that.
func (s *Storage) Refuse(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuses = status
}

// Copy is a backup of a backend.
type Copy map[string]*Bucket

// Save returns a backup of everything.
func (s *Storage) Save() Copy {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := Copy{}
	for name, b := range s.buckets {
		c[name] = b.clone()
	}
	return c
}

// Restore brings back a backup. An empty Copy wipes it; uploads never survive.
func (s *Storage) Restore(c Copy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buckets, s.uploads = map[string]*Bucket{}, map[string]*upload{}
	for name, b := range c {
		s.buckets[name] = b.clone()
	}
}

// Rot changes a byte of an object's current version, which nothing can notice.
func (s *Storage) Rot(bucket, key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.buckets[bucket].current(s.fold(key))
	if v == nil || len(v.Body) == 0 {
		return false
	}
	v = v.clone()
	v.Body = bytes.Clone(v.Body)
	v.Body[len(v.Body)/2] ^= 1
	s.buckets[bucket].Keys[s.fold(key)][0] = v
	return true
}

func (s *Storage) now() time.Time { return time.Now().Add(s.manners.Clock) }

func (s *Storage) fold(key string) string {
	for s.manners.Folds && strings.Contains(key, "//") {
		key = strings.ReplaceAll(key, "//", "/")
	}
	return key
}

func (s *Storage) id() string {
	s.ids++
	return hashed([]byte(s.Name), []byte{byte(s.ids), byte(s.ids >> 8)})
}

func hashed(parts ...[]byte) string {
	h := md5.New()
	for _, p := range parts {
		h.Write(p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// await waits for d, or until ctx ends.
func await(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Storage) delays() (there, back time.Duration) {
	if s.Delay == nil {
		return 0, 0
	}
	return s.Delay()
}

// IsWell reports whether it answers.
func (s *Storage) IsWell() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == Well && s.refuses == 0
}
