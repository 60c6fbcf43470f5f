package journal

import "time"

// Entry is one write that backends may differ in. Promise only reads its []byte
// fields; in what is handed out they are fresh, the receiver's own.
type Entry struct {
	// Seq is the write's place among others, a Unix time in nanoseconds, unique and
	// ascending, also over restarts. Promise sets it where it is 0.
	Seq uint64
	// Method of the request. Empty: no write, but a difference that was found
	// (by verify); it never stands for the key where a write is known.
	Method string
	// Raw bytes, any. Key is empty where the write is about a bucket; Reason is
	// why backends differ, for people.
	Target, Host, Bucket, Key, ETag, ID, Reason []byte
	Size                                        int64
	// Owed has the bits of the backends that may differ: bit i is
	// Options.Backends[i].
	Owed uint64
	// Open: an intent. Legs are still under way, and a Settle will come.
	Open bool
	// Aux are flags of the engine's.
	Aux uint8
}

// Bits of Entry.Aux. Other bits are kept as they are given.
const (
	// AuxSubresource: a write to a part of the object or bucket (?acl, ?tagging).
	AuxSubresource = 1 << 0
	// AuxUnacknowledged: the client was told of no success; outcome unknown.
	AuxUnacknowledged = 1 << 1
	// AuxOverlapped: another write was under way at the same time.
	AuxOverlapped = 1 << 2
	// AuxVersion: a write to one version of the object. It never stands for the key
	// where a write of content is known that a client was told of (R35).
	AuxVersion = 1 << 3
	// AuxDoubt is the journal's own: a write that nobody was told of has come after
	// the one that stands here, and may have replaced it.
	AuxDoubt = 1 << 6
	// AuxMixed is the journal's own: entries with and without AuxSubresource
	// stand behind this pending key, so that both have to be looked at.
	AuxMixed = 1 << 7
)

// Pending is one key that backends may differ in. All entries of one bucket and
// key are compacted to one; where the key is empty, those of one bucket and
// target.
type Pending struct {
	// Entry is the newest write's (by Seq) of those that a client was told of; else
	// the newest of those that nobody was told of (AuxUnacknowledged) or that were to a
	// version (AuxVersion); else the newest difference that was found. Owed is what that write is owed, where it
	// was acknowledged and is no write to a sub-resource; else, or where it is owed
	// nothing, Owed is merged over all entries of the key. Backends that are not
	// configured any more have no bit here.
	Entry
	First     uint64 // Seq of the oldest entry
	Tries     int
	NotBefore time.Time // zero: at once
	Parked    bool
	LastError string
	// Version tells one state of the key in this process from the next: a newer
	// entry need not show elsewhere. Whoever makes a Pending anew, for Resolve or
	// Note, has to carry it along; 0 is not compared.
	Version uint8
}
