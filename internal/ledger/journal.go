package ledger

import (
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/datadir"
	"github.com/akubra/akubra/internal/text"
	"github.com/akubra/akubra/synclog/inflight"
	"github.com/akubra/akubra/synclog/journal"
	"github.com/akubra/akubra/synclog/repair"
	"github.com/akubra/akubra/synclog/task"
)

// InflightName is the table of writes under way, beside the journal's own files.
const InflightName = "inflight"

// OpenJournal opens the journal for this process alone, and makes DataDir where it
// is not there yet. onError and onRevive are journal.Options'; both may be nil.
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
	})
	if errors.Is(err, journal.ErrLocked) {
		return nil, fmt.Errorf("cannot open the journal (DataDir: %q), since another proxy or `akubra repair` is at it: %w", c.DataDir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open the journal (DataDir: %q): %w", c.DataDir, err)
	}
	if j.Failed() { // at once: it can be read, but what would be the use
		_ = j.Close() // what it could not write it had not promised
		err := journal.ErrFailed
		if why := trouble.Load(); why != nil {
			err = *why
		}
		return nil, fmt.Errorf("cannot write to the journal (DataDir: %q): %w", c.DataDir, err)
	}
	return j, nil
}

// OpenInflight opens the table of writes under way, and journals what a process
// that was killed has left in it: some backends may have these writes and others
// not. The journal may have those that were acknowledged already.
func OpenInflight(c *config.Config, j *journal.Journal, names []string) (*inflight.Table, error) {
	table, err := inflight.Open(filepath.Join(c.JournalDir(), InflightName), func(left []inflight.Write) error {
		entries := make([]journal.Entry, len(left))
		for i, w := range left {
			entries[i] = entryOf(&w, names)
		}
		if err := j.Promise(entries); err != nil {
			return err
		}
		return j.Flush()
	})
	if err != nil {
		return nil, fmt.Errorf("cannot open the table of writes under way (DataDir: %q): %w", c.DataDir, err)
	}
	// Each request may have some writes that go on in the background, and a
	// multi-object delete has many.
	table.SetMax(max(inflight.DefaultMax, 8*c.MaxConcurrentRequests))
	return table, nil
}

// entryOf is what the journal has to know of a write that was under way. It is not
// known who has it, unless it was acknowledged.
func entryOf(w *inflight.Write, names []string) journal.Entry {
	e := journal.Entry{
		Bucket: w.Bucket, Key: w.Key, Host: w.Host, Target: text.HideSecrets(w.Target), Owed: 1<<len(names) - 1,
		Reason: []byte("under way when the proxy died"),
	}
	a := &w.Ack
	if a.Seq == 0 || a.Aux&journal.AuxSubresource != 0 && len(w.Target) == 0 {
		return e // of a part of which nobody knows which it is, the whole object is looked at
	}
	e.Seq, e.Method, e.ETag, e.ID, e.Size, e.Aux = a.Seq, a.Method, a.ETag, a.ID, a.Size, a.Aux
	if a.Order == OrderOf(names) {
		e.Owed = a.Owed
	}
	return e
}

// OrderOf tells one list of backends from another: masks go by places in it.
func OrderOf(names []string) uint32 { return crc32.ChecksumIEEE([]byte(strings.Join(names, "\n"))) }

// NamedJournal is repair's Journal in the process that has opened it: what the
// journal keeps as masks are names there.
type NamedJournal struct {
	Journal *journal.Journal
	Names   []string
	Dir     string
}

var (
	_ repair.Journal = (*NamedJournal)(nil)
	_ repair.Finder  = (*NamedJournal)(nil)
)

// Next is repair.Journal's.
func (n *NamedJournal) Next(cursor uint64) (t task.Task, next uint64, ok bool, err error) {
	p, next, ok := n.Journal.Next(cursor)
	if !ok {
		return task.Task{}, next, false, nil
	}
	return n.task(&p), next, true, nil
}

// Find makes it repair.Finder.
func (n *NamedJournal) Find(bucket, key string) (t task.Task, place uint64, ok bool, err error) {
	p, place, ok := n.Journal.Find([]byte(bucket), []byte(key))
	if !ok {
		return task.Task{}, 0, false, nil
	}
	return n.task(&p), place, true, nil
}

func (n *NamedJournal) task(p *journal.Pending) task.Task {
	t := TaskOf(p, n.Names)
	if p.Aux&journal.AuxMixed != 0 && p.Aux&journal.AuxSubresource != 0 {
		// Content is owed, too: all of the object is looked at, as it is now. Its
		// newest write alone would not tell.
		w := t.Newest()
		w.Aspect, w.Method = task.Found, ""
	}
	return t
}

// Resolve is repair.Journal's.
func (n *NamedJournal) Resolve(t *task.Task) (bool, error) {
	p, err := n.pending(t)
	if err != nil {
		return false, err
	}
	return n.Journal.Resolve(&p), nil
}

// Note is repair.Journal's.
func (n *NamedJournal) Note(t *task.Task) error {
	p, err := n.pending(t)
	if err != nil {
		return err
	}
	// What a backend has got meanwhile it does not owe any more, but the journal
	// forgets nothing but whole keys.
	p.Owed = 1<<len(n.Names) - 1
	n.Journal.Note(&p) // or something newer came, which has no tries yet
	return nil
}

// Add journals what verify has found.
func (n *NamedJournal) Add(t *task.Task) error {
	p, err := n.pending(t)
	if err != nil {
		return err
	}
	e := p.Entry
	e.Seq, e.Open = 0, false
	return n.Journal.Promise([]journal.Entry{e})
}

// pending is what the journal goes by: the newest write.
func (n *NamedJournal) pending(t *task.Task) (journal.Pending, error) {
	p := journal.Pending{
		Entry: journal.Entry{Target: []byte(t.Target), Bucket: []byte(t.Bucket), Key: []byte(t.Key)},
		First: t.First, Version: t.Version, Tries: t.Tries, NotBefore: t.NotBefore, Parked: t.Parked != "", LastError: t.LastError,
	}
	if w := t.Newest(); w != nil {
		p.Seq, p.Method, p.Size = w.Seq, w.Method, w.Size
		p.Host, p.ETag, p.ID, p.Reason = []byte(w.Host), []byte(w.ETag), []byte(w.ID), []byte(w.Reason)
		if t.Key != "" {
			p.Target = []byte(w.Target)
		}
	}
	for _, name := range t.Owed() {
		i := slices.Index(n.Names, name)
		if i < 0 {
			return journal.Pending{}, fmt.Errorf("cannot find backend %q among %q", name, n.Names)
		}
		p.Owed |= 1 << i
	}
	return p, nil
}

// TaskOf is the repair task of an entry, by the backends' names.
func TaskOf(p *journal.Pending, names []string) task.Task {
	t := task.Task{
		Bucket: string(p.Bucket), Key: string(p.Key), First: p.First,
		Version: p.Version, Tries: p.Tries, NotBefore: p.NotBefore, LastError: p.LastError,
		RivalsLost: p.Aux&journal.AuxDoubt != 0,
	}
	if p.Parked {
		t.Parked = task.Failed // today's journal keeps no other reason
	}
	w := task.Write{
		Seq: p.Seq, Method: p.Method, Size: p.Size,
		Target: string(p.Target), Host: string(p.Host), ETag: string(p.ETag), ID: string(p.ID), Reason: string(p.Reason),
		Overlapped: p.Aux&journal.AuxOverlapped != 0, Unacknowledged: p.Aux&journal.AuxUnacknowledged != 0,
	}
	w.Aspect = aspectOf(p)
	if t.Key == "" {
		t.Target = w.Target
	}
	for i, name := range names {
		switch {
		case p.Owed&(1<<i) != 0:
			w.Owed = append(w.Owed, name)
		case !w.Unacknowledged && w.Aspect != task.Found:
			w.Took = append(w.Took, name)
		}
	}
	if w.Unacknowledged {
		t.Rivals = []task.Write{w}
	} else {
		t.Writes = []task.Write{w}
	}
	return t
}

// aspectOf is the aspect of an entry, which today's journal tells by its bits and target.
func aspectOf(p *journal.Pending) task.Aspect {
	if p.Method == "" {
		return task.Found
	}
	if p.Aux&journal.AuxVersion != 0 {
		return task.Version
	}
	if p.Aux&journal.AuxSubresource == 0 {
		return task.Content
	}
	_, query, _ := strings.Cut(string(p.Target), "?")
	for query != "" {
		var param string
		param, query, _ = strings.Cut(query, "&")
		name, _, _ := strings.Cut(param, "=")
		if a, known := aspects[name]; known && len(p.Key) > 0 {
			return a
		}
	}
	return task.Setting
}

// aspects of objects by the parameter that names them; delete is one of many (R24).
var aspects = map[string]task.Aspect{
	"tagging": task.Tags, "acl": task.ACL, "retention": task.Retention, "legal-hold": task.LegalHold, "delete": task.Content,
}
