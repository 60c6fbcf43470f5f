package ledger

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/datadir"
	"github.com/akubra/akubra/internal/text"
	"github.com/akubra/akubra/synclog/inflight"
	"github.com/akubra/akubra/synclog/journal"
	"github.com/akubra/akubra/synclog/repair"
	"github.com/akubra/akubra/synclog/task"
)

// OpenJournal opens the journal for this process alone, and creates DataDir if necessary. onError
// and onRevive are as in journal.Options; both may be nil.
func OpenJournal(c *config.Config, names []string, onError func(error), onRevive func()) (*journal.Journal, error) {
	if err := datadir.MkdirAll(c.DataDir, true); err != nil {
		return nil, fmt.Errorf("cannot make the directory of the journal (DataDir: %q): %w", c.DataDir, text.Cause(err))
	}
	if err := datadir.Check(c.DataDir, c.JournalDir()); err != nil {
		return nil, fmt.Errorf("cannot use DataDir %q: %w", c.DataDir, err)
	}
	var trouble atomic.Pointer[error]
	j, err := journal.Open(journal.Options{
		Dir:      c.JournalDir(),
		Backends: names,
		Power:    c.Durability == config.DurabilityPower,
		OnError: func(err error) {
			trouble.Store(&err)
			if onError != nil {
				onError(err)
			}
		},
		OnRevive: onRevive,
		Continue: c.OnJournalError == config.OnJournalErrorContinue,
		// A request may leave some writes running in the background, and a multi-object delete has
		// many.
		Writes: max(inflight.DefaultMax, 8*c.MaxConcurrentRequests),
	})
	if errors.Is(err, journal.ErrLocked) {
		return nil, fmt.Errorf("cannot open the journal (DataDir: %q), because another proxy or `akubra repair` has it open: %w", c.DataDir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open the journal (DataDir: %q): %w", c.DataDir, err)
	}
	if j.Failed() { // already: it can be read, but that would be of no use
		_ = j.Close() // what it could not write it had not promised
		err := journal.ErrFailed
		if why := trouble.Load(); why != nil {
			err = *why
		}
		return nil, fmt.Errorf("cannot write to the journal (DataDir: %q): %w", c.DataDir, err)
	}
	return j, nil
}

// NamedJournal implements repair's Journal in the process that has opened it, with names in place
// of the journal's masks.
type NamedJournal struct {
	Journal *journal.Journal
	Names   []string
	Dir     string
}

var (
	_ repair.Journal = (*NamedJournal)(nil)
	_ repair.Finder  = (*NamedJournal)(nil)

	_ repair.ParkedFinder = (*NamedJournal)(nil)
	_ repair.BucketFinder = (*NamedJournal)(nil)
	_ repair.Removals     = (*NamedJournal)(nil)
)

// Next implements repair.Journal.
func (n *NamedJournal) Next(cursor uint64) (t task.Task, next uint64, ok bool, err error) {
	t, next, ok = n.Journal.Next(cursor)
	return t, next, ok, nil
}

// NextParked implements repair.ParkedFinder.
func (n *NamedJournal) NextParked(cursor uint64) (t task.Task, next uint64, ok bool, err error) {
	t, next, ok = n.Journal.NextParked(cursor)
	return t, next, ok, nil
}

// NextIn implements repair.BucketFinder.
func (n *NamedJournal) NextIn(bucket string, cursor uint64) (t task.Task, next uint64, ok bool, err error) {
	t, next, ok = n.Journal.NextIn(bucket, cursor)
	return t, next, ok, nil
}

// Removing implements repair.Removals.
func (n *NamedJournal) Removing(bucket string) bool {
	owed, _ := n.Journal.Removing([]byte(bucket))
	return owed != 0
}

// Find implements repair.Finder.
func (n *NamedJournal) Find(bucket, key string) (t task.Task, place uint64, ok bool, err error) {
	t, ok = n.Journal.Find([]byte(bucket), []byte(key), nil)
	return t, t.Place, ok, nil
}

// FindSetting implements repair.SettingFinder.
func (n *NamedJournal) FindSetting(bucket, name string) (t task.Task, ok bool) {
	return n.Journal.Find([]byte(bucket), nil, []byte("?"+name))
}

// Resolve implements repair.Journal.
func (n *NamedJournal) Resolve(t *task.Task) (bool, error) {
	return n.Journal.Resolve(t), nil
}

// Note implements repair.Journal.
func (n *NamedJournal) Note(t *task.Task) (bool, error) {
	ok := n.Journal.Note(t) // if something newer came instead, it has no tries yet
	if t.Key == "" {
		return ok, n.Journal.Flush() // a bucket is made again only once it is known that the old one is gone
	}
	return ok, nil
}

// Add writes what verify has found to the journal.
func (n *NamedJournal) Add(t *task.Task) error {
	e := journal.Entry{Aspect: task.Found, Bucket: []byte(t.Bucket), Key: []byte(t.Key), Target: []byte(t.Target)}
	for i := range t.Writes {
		w := &t.Writes[i]
		e.Reason, e.Size, e.ETag = []byte(w.Reason), w.Size, []byte(w.ETag)
		for _, name := range w.Owed {
			i := slices.Index(n.Names, name)
			if i < 0 {
				return fmt.Errorf("cannot find backend %q among %q", name, n.Names)
			}
			e.Owed |= 1 << i
		}
	}
	return n.Journal.Promise([]journal.Entry{e})
}
