package repair

import "github.com/akubra/akubra/synclog/task"

// ParkedFinder is a Journal that finds parked tasks without reading the rest, of which there may
// be millions.
type ParkedFinder interface {
	NextParked(cursor uint64) (t task.Task, next uint64, ok bool, err error)
}

// OnlyParked is a journal that contains only what is parked.
func OnlyParked(j Journal) Journal { return parkedJournal{j} }

type parkedJournal struct{ Journal }

func (j parkedJournal) Next(cursor uint64) (t task.Task, next uint64, ok bool, err error) {
	if finder, finds := j.Journal.(ParkedFinder); finds {
		return finder.NextParked(cursor)
	}
	for {
		if t, next, ok, err = j.Journal.Next(cursor); !ok || err != nil || t.Parked != "" {
			return t, next, ok, err
		}
		cursor = next
	}
}

// able returns the journal as another interface, such as a Finder, if it implements that. For a journal
// of OnlyParked it is the one inside, which also finds what is not parked.
func able[T any](j Journal) (as T, ok bool) {
	if parked, is := j.(parkedJournal); is {
		j = parked.Journal
	}
	as, ok = j.(T)
	return as, ok
}

// findTask returns the task of a key; target is for a bucket's task, whose key is "".
func findTask(j Journal, bucket, key, target string) (t task.Task, ok bool, err error) {
	if finder, finds := j.(Finder); finds && key != "" {
		t, place, ok, err := finder.Find(bucket, key)
		t.Place = place
		return t, ok, err
	}
	for cursor := uint64(0); ; {
		t, next, more, err := j.Next(cursor)
		if err != nil || !more {
			return t, false, err
		}
		if t.Place, cursor = next-1, next; t.Bucket == bucket && t.Key == key && (key != "" || t.Target == target) {
			return t, true, nil
		}
	}
}
