// Package task has the one shape in which the parts of the house tell each other what
// was acknowledged about a key and which backends lack it (R35): the journal keeps it,
// repair acts on it, the admin listener and the commands show it. It knows nobody.
//
// What is known of a key is kept by aspect (content, tags, ACL, …): a write replaces what
// was known of its own aspect, and of no other.
package task

import (
	"iter"
	"time"
)

// Aspect is the part of an object, or of a bucket, that a write is about.
type Aspect uint8

// The aspects. Their numbers are in the journal's files.
const (
	// Content is the object itself: PUT, CopyObject, CompleteMultipartUpload, a form, or a
	// delete, by DELETE or DeleteObjects alike. Of a bucket: that it was made or deleted.
	Content Aspect = iota
	Tags
	ACL
	Retention
	LegalHold
	// Setting is any other sub-resource of an object, and each one of a bucket; which one,
	// the write's target says. Each target is one of its own; in a bucket it is a key.
	Setting
	// Version is a write to one version of an object (?versionId=). Several may be pending
	// at once: each is one of its own.
	Version
	// Found is no write, but a difference between backends that verify has found.
	Found
)

// Write is what is known of one aspect of a key: of its newest write that a client was
// told of, or of one of unknown outcome.
type Write struct {
	Aspect Aspect
	// Seq is the write's place in the order of writes: Unix time in nanoseconds, unique,
	// ascending over restarts. An acknowledged write's is when it began, another one's when
	// it had ended.
	Seq uint64
	// Settled is when the last leg ended, in the order of Seq; where the proxy ended before,
	// when the next one found that. 0: legs are out, or an old journal did not keep it.
	Settled uint64
	// Answered is when its client was told while legs were out, in the order of Seq: legs of
	// writes that began later follow this one's on each backend (R19), unless a backend
	// takes one late that it gave no answer to. 0: not before all legs had ended, or not
	// known.
	Answered uint64
	// Method is empty for Found. Target is the raw request target without secrets; it names
	// the sub-resource and the version. ETag is without quotes, as the backend answered that
	// was first, and empty where it is not known. Reason is why a backend lacks the write,
	// for people. All are raw bytes, UTF-8 or not.
	Method, Target, Host, ETag, ID, Reason string
	Size                                   int64
	// Took are the backends that said they have taken the write, Owed those that lack it, or
	// may; by name. A backend in neither was not configured then. One in both took it, but
	// may not have it as the others do: ETags differ (R18), writes overlapped (R19), it was
	// to a version, or a write before it, which the backend lacked, may land late.
	Took, Owed []string
	// ETags are those of backends that answered with another ETag than the first one, by
	// name: storages that encrypt, or compose uploads in their own way (R18). Of a write to a
	// version they are the ids that it has on others than the one that gave its target's.
	ETags map[string]string
	// Made are the ids of the version that a write of the content made, by the backends of which
	// that is known; NullVersion where a backend gave none.
	Made map[string]string
	// Overlapped: another acknowledged write of the aspect was under way at the same time,
	// and may have landed after this one on any backend (R19).
	Overlapped bool
	// OverlapKnown: all writes that overlapped with it are known. Without it some may not be: the proxy
	// ended before it had told of them, or an old journal did not say.
	OverlapKnown bool
	// Unacknowledged: no client was told of its success; it may have come to pass on any
	// backend, or not.
	Unacknowledged bool
	// Unrepeatable: the write cannot be made again from what the backends have, as a
	// bucket's delete with x-minio-force-delete.
	Unrepeatable bool
	// Carried is what else than content the write is known to have brought.
	Carried Carried
}

// Carried are kinds of what belongs to an object beside its content. A backend that took a
// write which carried one, and shows nothing of it, does not keep that kind. What is not
// set is not known: uploads in parts say it when they begin, and copies bring their source's.
type Carried uint8

// The kinds. Their bits are in the journal's files.
const (
	CarriedTags     Carried = 1 << iota
	CarriedLock             // a legal hold or a retention
	CarriedMetadata         // Cache-Control or x-amz-meta-…
)

// CarriedBypass, of a delete, is leave to ignore a retention in governance mode
// (x-amz-bypass-governance-retention).
const CarriedBypass = CarriedLock

// Delete reports whether the write took the object, or the bucket, away.
func (w *Write) Delete() bool { return w.Aspect == Content && w.Method == "DELETE" }

// ParkReason is why a task is parked: a person has to decide (R35). Empty: it is not parked.
type ParkReason string

// The reasons.
const (
	// Lost: acknowledged, and no backend has it any more.
	Lost ParkReason = "lost"
	// Conflict: a backend that owes nothing has something else than was acknowledged; it
	// was changed, deleted or restored past the proxy.
	Conflict ParkReason = "conflict"
	// Damaged: content does not match its own ETag or checksum.
	Damaged ParkReason = "damaged"
	// NotKept: a backend refuses or forgets a part of it (tags, locks, metadata, …).
	NotKept ParkReason = "not kept"
	// NeedsPerson: it cannot be carried over as it is, as some writes to versions.
	NeedsPerson ParkReason = "needs a person"
	// Failed: it was tried as often as MaxTries says.
	Failed ParkReason = "failed"
)

// ParkReasons are all of them. Journals count by their place here: new ones go to its end.
var ParkReasons = []ParkReason{Lost, Conflict, Damaged, NotKept, NeedsPerson, Failed}

// Task is one key that backends may differ in, and all that is known of it. A bucket's
// tasks have no Key; each Target is one of its own there.
type Task struct {
	Bucket, Key, Target string

	// Writes are the acknowledged writes that stand, in ascending order of Seq: of each
	// aspect the one that began last, of Version and Setting each target's that is owed.
	// VersionsLost: there were more of these than are kept, the oldest are missing.
	Writes       []Write
	VersionsLost bool
	// Rivals are writes that may have landed after the one of their aspect in Writes: such
	// that overlapped it, and such of unknown outcome, also where nothing stands. RivalsLost:
	// there were more than are kept.
	Rivals     []Write
	RivalsLost bool

	First     uint64 // Seq of the oldest write that is owed
	Open      bool   // legs are out, or a proxy ended with legs out; only Read gives such
	Tries     int    // failures that were the key's own fault, not a backend's
	NotBefore time.Time
	Parked    ParkReason
	LastError string // also what a person has to know of a parked one

	Version uint8  // the journal's own, of the state that was read; carried along for it
	Place   uint64 // the cursor that gives the task again
}

// Of gives the acknowledged write that stands for an aspect other than Version, or nil; of
// several settings the oldest.
func (t *Task) Of(a Aspect) *Write {
	for i := range t.Writes {
		if t.Writes[i].Aspect == a {
			return &t.Writes[i]
		}
	}
	return nil
}

// All gives the acknowledged writes, and then their rivals.
func (t *Task) All() iter.Seq[*Write] {
	return func(yield func(*Write) bool) {
		for _, ws := range [2][]Write{t.Writes, t.Rivals} {
			for i := range ws {
				if !yield(&ws[i]) {
					return
				}
			}
		}
	}
}

// Owed are the backends that owe any aspect of the key, by name, each once.
func (t *Task) Owed() (names []string) {
	seen := map[string]bool{}
	for w := range t.All() {
		for _, name := range w.Owed {
			if !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
		}
	}
	return names
}

// Newest is the write that a line about the key tells of: the acknowledged write that began
// last; where there is none but to versions, the last of these and of the rivals; and else
// a difference that was found. It is nil where nothing is known.
func (t *Task) Newest() (newest *Write) {
	rank := func(w *Write) int {
		switch {
		case w.Aspect == Found:
			return 0
		case w.Unacknowledged || w.Aspect == Version:
			return 1
		}
		return 2
	}
	for _, ws := range [2][]Write{t.Rivals, t.Writes} {
		for i := range ws {
			if w := &ws[i]; newest == nil || rank(w) > rank(newest) || rank(w) == rank(newest) && w.Seq > newest.Seq {
				newest = w
			}
		}
	}
	return newest
}
