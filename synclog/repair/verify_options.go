package repair

import "time"

// VerifyOptions say what to compare. Zero values mean the same as in Options.
type VerifyOptions struct {
	Backends       []Backend
	Bucket, Prefix string
	// Deep compares content and metadata too, even if ETags agree.
	Deep bool
	// IgnoreETags compares sizes only (R18), unless Deep.
	IgnoreETags bool
	// Journal, unless nil, gets every difference, for repair.
	Journal Journal
	// Missing says what Journal is told about keys that a backend lacks: with MissingCopy to copy
	// them if nothing says that they were deleted, with MissingPark never to copy them; otherwise
	// they are copied if the backend's own history shows that it never had them.
	Missing string
	// Busy reports whether a key is pending, or a client is writing it: then it is not a
	// difference. A parked key is one, but is journaled already. With the key "" it is about the
	// bucket and its versioning. May be nil.
	Busy func(bucket, key string) (busy, parked bool, err error)
	// Memory knows what backends do not keep, which is reported once and is not a difference; may
	// be nil.
	Memory Memory
	// OnNotKept is called once for each such thing that was found; may be nil.
	OnNotKept func(backend, what string)
	// OnDifference is called for each difference, by one goroutine at a time, in the order of
	// keys.
	OnDifference func(Difference)
	// Progress is called now and then, by one goroutine at a time; may be nil.
	Progress         func(VerifySummary)
	Concurrency      int     // keys that are looked at one by one at once
	ObjectsPerSecond float64 // of keys that are looked at one by one
	DialTimeout      time.Duration
	Timeout          time.Duration
	Log              Log
}

// What VerifyOptions.Missing can be.
const (
	MissingCopy = "copy"
	MissingPark = "park"
)

// What backends can differ in.
const (
	DiffMissing  = "missing"
	DiffSize     = "size"
	DiffETag     = "etag"
	DiffContent  = "content"
	DiffDamaged  = "damaged" // content that is not what its ETag says
	DiffMetadata = "metadata"
	DiffBucket   = "bucket"  // the whole bucket is missing; Key is ""
	DiffSetting  = "setting" // a bucket's versioning differs; Key is ""
	DiffError    = "error"   // a backend could not say
)

// Difference is one key that is not the same everywhere.
type Difference struct {
	Bucket, Key string
	Kind        string // one of Diff…
	What        string // the metadata, or the setting, that differs, by name
	Have        []Have // one for each backend, in their order

	parked bool     // the journal has it already
	owed   []string // who is not right, as far as that is known; all where it is not
}

// Have is what one backend has for a key.
type Have struct {
	Backend  string    `json:"backend"`
	Present  bool      `json:"present"`
	Size     int64     `json:"size,omitempty"`
	ETag     string    `json:"etag,omitempty"`
	Modified time.Time `json:"modified,omitzero"` // by the backend's own clock
	Damaged  bool      `json:"damaged,omitempty"`
	SHA256   string    `json:"sha256,omitempty"` // where the content was read
	Error    string    `json:"error,omitempty"`
	// Versioning is a bucket's, where that differs: Enabled, Suspended or Off.
	Versioning string `json:"versioning,omitempty"`
}

// VerifySummary counts. Keys is of all keys that any backend has.
type VerifySummary struct {
	Keys, Differences, Missing, Damaged, Errors, Added int64
	Buckets                                            int64 // of the Differences, those that are buckets, not keys
	Settings                                           int64 // of the Differences, those in a bucket's versioning
	Busy                                               int64 // differ, since they are pending or being written
	NotKept                                            int64 // differ in what a backend is known not to keep alone
	Bytes                                              int64 // of content read
	Last                                               string
}

// DifferentKeys is how many of the Differences are between objects.
func (s *VerifySummary) DifferentKeys() int64 {
	return s.Differences - s.Buckets - s.Settings - s.Errors
}
