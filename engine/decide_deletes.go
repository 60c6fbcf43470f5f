package engine

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/akubra/akubra/engine/content"
	"github.com/akubra/akubra/s3"
)

// The objects of a multi-object delete may have conditions of their own: an ETag, a size, a
// time. One backend decides all of them (R29). What it has deleted of the list is known from its
// answer alone, and the list cannot be changed, for a signature covers it. So the others get the
// list if the decider has deleted all that is in it. If not, one of them might delete what the
// decider has refused: none gets it, each owes the deletes that were made, and repair makes them.

// errPartlyDecided ends a follower of a decider that has not deleted all.
var errPartlyDecided = fmt.Errorf("%w as a whole: some objects of the list are not deleted", errUndecided)

// chooseDeletesDecider has the first backend decide a list that can; conditional are the keys
// with conditions, if there are any.
func (r *request) chooseDeletesDecider(conditional map[string]bool) *s3Error {
	if len(conditional) == 0 {
		return nil
	}
	var owing uint64
	var owed []string
	if j := r.e.o.Journal; j != nil {
		for key := range conditional {
			if set := j.Owed(r.head.target.Bucket, []byte(key)) & r.e.all; set != 0 {
				owing |= set
				owed = append(owed, key)
			}
		}
	}
	if r.decideByFirst(owing) {
		return nil
	}
	if f := r.e.o.Wanted; f != nil {
		for _, key := range owed {
			f(string(r.head.target.Bucket), key)
		}
	}
	return errNoDecider
}

// refusesDeletes reports whether the leg's answer to a multi-object delete does not say that all
// is deleted.
func (l *leg) refusesDeletes() bool {
	if !l.r.head.is(s3.KindDelete) || l.state != votePositive {
		return false
	}
	d := l.deletions()
	return !d.Complete()
}

// conditionalFirst puts the objects that have conditions first, in the order of their keys.
func conditionalFirst(objects []content.Object, conditional map[string]bool) []content.Object {
	if len(conditional) == 0 {
		return objects
	}
	objects = slices.Clone(objects)
	slices.SortStableFunc(objects, func(a, b content.Object) int {
		if x, y := conditional[a.Key], conditional[b.Key]; x != y {
			if x {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Key, b.Key)
	})
	return objects
}
