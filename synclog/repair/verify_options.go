package repair

import "time"

// VerifyOptions say what to compare. Zero values are as in Options.
type VerifyOptions struct {
	Backends       []Backend
	Bucket, Prefix string
	// Deep compares content and metadata too, also where ETags agree.
	Deep bool
	// IgnoreETags compares sizes only (R18), unless Deep.
	IgnoreETags bool
	// Journal, unless nil, gets every difference, for repair.
	Journal Journal
	// OnDifference is called for each difference, by one goroutine at a time, in
	// about the order of keys.
	OnDifference func(Difference)
	// Progress is called now and then, by one goroutine at a time; may be nil.
	Progress         func(VerifySummary)
	Concurrency      int     // keys that are looked at one by one at once
	ObjectsPerSecond float64 // of keys that are looked at one by one
	BytesPerSecond   int64   // of content read
	DialTimeout      time.Duration
	Timeout          time.Duration
	Log              Log
}

// What backends can differ in.
const (
	DiffMissing  = "missing"
	DiffSize     = "size"
	DiffETag     = "etag"
	DiffContent  = "content"
	DiffMetadata = "metadata"
	DiffBucket   = "bucket" // the whole bucket is missing; Key is ""
	DiffError    = "error"  // a backend could not say
)

// Difference is one key that is not the same everywhere.
type Difference struct {
	Bucket, Key string
	Kind        string // one of Diff…
	Have        []Have // one for each backend, in their order
}

// Have is what one backend has of a key.
type Have struct {
	Backend  string    `json:"backend"`
	Present  bool      `json:"present"`
	Size     int64     `json:"size,omitempty"`
	ETag     string    `json:"etag,omitempty"`
	Modified time.Time `json:"modified,omitzero"` // by this machine's clock
	SHA256   string    `json:"sha256,omitempty"`  // where the content was read
	Error    string    `json:"error,omitempty"`
}

// VerifySummary counts. Keys is of all keys that any backend has.
type VerifySummary struct {
	Keys, Differences, Missing, Errors, Added int64
	Bytes                                     int64 // of content read
	Last                                      string
}
