package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/akubra/akubra/internal/admin"
	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/text"
	"github.com/akubra/akubra/synclog/journal"
	"github.com/akubra/akubra/synclog/repair"
	"github.com/akubra/akubra/synclog/task"
)

// What the live page and /status show of the parts that the admin listener does not know.

// owed is the journal's state.
func (p *Proxy) owed() admin.Owed {
	s, stats := p.journalAdmin.Status(), p.journal.Journal.Stats()
	o := admin.Owed{
		Pending: s.Pending, Parked: s.Parked, ParkedFor: s.ParkedFor, ByBackend: stats.ByBackend,
		Added: stats.Added, Closed: stats.Closed, Failed: s.Failed, Repairing: s.Repairing, Gone: s.Gone,
	}
	if s.Oldest != nil {
		o.Oldest = *s.Oldest
	}
	o.Bytes = p.owedBytes.get(p.journal.Journal.Owing)
	return o
}

// owedBytes remembers how many bytes each backend is owed. Finding that out means looking at all keys,
// so a result is kept for a hundred times as long as the look took: all looks together never cost
// more than a hundredth of a processor.
type owedBytes struct {
	mu    sync.Mutex
	again time.Time
	bytes []int64
}

const owedBytesRest = 100 // times as long as a look takes

func (b *owedBytes) get(owing func() journal.Owing) []int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if begun := time.Now(); begun.After(b.again) {
		b.bytes = owing().Bytes
		ended := time.Now()
		b.again = ended.Add(owedBytesRest * ended.Sub(begun))
	}
	return b.bytes
}

// slowRequest is a slow request as the page shows it. Times are in milliseconds.
type slowRequest struct {
	Time   time.Time `json:"time"`
	ID     string    `json:"id"`
	Method string    `json:"method"`
	Path   string    `json:"path"`
	First  float64   `json:"first"`
	Whole  float64   `json:"whole"`
	Legs   []slowLeg `json:"legs"`
}

type slowLeg struct {
	Backend string  `json:"backend"`
	Took    float64 `json:"took"`
	Outcome string  `json:"outcome"`
	Won     bool    `json:"won"`
}

// longestPath is how much the page has of a path.
const longestPath = 300

func (p *Proxy) slow() any {
	all := []slowRequest{}
	names := p.names()
	for _, r := range p.engine.Slow() {
		s := slowRequest{
			Time: r.Time.UTC(), ID: r.ID, Method: r.Method, Path: text.Printable(text.HideSecrets(r.Path)),
			First: millis(r.First), Whole: millis(r.Whole), Legs: []slowLeg{},
		}
		if len(s.Path) > longestPath {
			s.Path = strings.ToValidUTF8(s.Path[:longestPath], "") + "…"
		}
		for _, l := range r.Legs {
			s.Legs = append(s.Legs, slowLeg{Backend: names[l.Backend], Took: millis(l.Took), Outcome: cmp.Or(l.Outcome, "not asked"), Won: l.Won})
		}
		all = append(all, s)
	}
	return all
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// configDiffers is what the configuration's file says that is not in effect yet.
type configDiffers struct {
	File     string       `json:"file"`
	Changes  []configDiff `json:"changes"`
	Mistakes []string     `json:"mistakes,omitempty"` // why the file cannot be used as it is
}

type configDiff struct {
	Key     string `json:"key"`
	Running string `json:"running"`
	InFile  string `json:"infile"`
	Restart bool   `json:"restart"` // a reload is not enough
}

// configFile remembers what was found, so that the file is read only after a change of it or of what is
// in use.
type configFile struct {
	mu      sync.Mutex
	size    int64
	changed time.Time
	current *config.Config
	found   *configDiffers
}

func (p *Proxy) configDiffers() any {
	if p.File == "" {
		return nil
	}
	f, current := &p.configFile, p.current.Load()
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(p.File)
	if err != nil {
		return &configDiffers{File: p.File, Changes: []configDiff{}, Mistakes: []string{fmt.Sprintf("cannot read it: %v", text.Cause(err))}}
	}
	if f.found == nil || f.size != info.Size() || !f.changed.Equal(info.ModTime()) || f.current != current {
		f.size, f.changed, f.current = info.Size(), info.ModTime(), current
		f.found = p.compareFile(current)
	}
	return f.found
}

func (p *Proxy) compareFile(current *config.Config) *configDiffers {
	found := &configDiffers{File: p.File, Changes: []configDiff{}}
	next, err := config.Load(p.File)
	if err != nil {
		lines, ok := errors.AsType[config.Errors](err)
		if !ok {
			lines = config.Errors{err.Error()}
		}
		found.Mistakes = lines
		return found
	}
	restart := restartFor(p.Config, next)
	for _, key := range config.Changes(current, next) {
		found.Changes = append(found.Changes, configDiff{
			Key: key, Running: current.Shown(key), InFile: next.Shown(key), Restart: slices.Contains(restart, key),
		})
	}
	return found
}

// settle carries out a person's decision about a parked key (R35), as akubra resolve does: the fence keeps
// it and every repair apart. A large object takes longer than the page waits for an answer: it is settled
// all the same, until Stop, and the log says what came of it.
func (p *Proxy) settle(d admin.Decision) (result string, err error) {
	return p.settleWithin(d, settlePatience)
}

func (p *Proxy) settleWithin(d admin.Decision, patience time.Duration) (result string, err error) {
	bucket, key := d.Bucket, string(d.Key)
	t, _, ok, err := p.journal.Find(bucket, key)
	switch {
	case err != nil:
		return "", err
	case !ok || key == "":
		return "", errors.New("cannot settle it: nothing is pending for it, or it is a bucket: akubra resolve settles buckets")
	case t.Parked == "":
		return "", errors.New("cannot settle it: it is not parked any more")
	case d.Retry:
		return p.retry(&t)
	}
	o, err := RepairOptions(p.current.Load(), os.Environ())
	if err != nil {
		return "", fmt.Errorf("cannot settle it without keys for the backends: %w", err)
	}
	if p.manners != nil {
		o.Memory = p.manners
	}
	o.Journal, o.Fence, o.Log, o.Maintained = p.journal, engineFence{p.engine}, repairLog{engineLog{p.logs}}, p.isOut
	o.OnResolved = func(t task.Task, action string) { p.resolved(&t, action) }
	r, err := repair.New(o)
	if err != nil {
		return "", err
	}
	if _, busy := p.settling.LoadOrStore([2]string{bucket, key}, true); busy {
		return "", errors.New("cannot settle it: an earlier decision is still being carried out")
	}
	type outcome struct {
		result string
		err    error
	}
	done, gone := make(chan outcome), make(chan struct{})
	defer close(gone)
	p.serving.Go(func() { // a handler of the listener that is waited for
		defer r.CloseIdle()
		var got outcome
		got.result, got.err = settleWith(p.life, r, d)
		p.settling.Delete([2]string{bucket, key})
		select {
		case done <- got:
		case <-gone:
			msg := "a decision about a parked key has been carried out"
			if got.err != nil {
				msg = "a decision about a parked key could not be carried out"
			}
			p.logs.Main.Warn().Err(got.err).Str("what", text.HideSecrets(text.Printable(bucket+"/"+key))).Str("result", got.result).Msg(msg)
		}
	})
	select {
	case got := <-done:
		return got.result, got.err
	case <-time.After(patience):
		return "it is being settled, which takes a while: the key leaves the page once that is done, and the log says what came of it", nil
	}
}

// settleWith carries out a decision to its end.
func settleWith(ctx context.Context, r *repair.Repairer, d admin.Decision) (result string, err error) {
	got, err := r.Settle(ctx, d.Bucket, string(d.Key), "", repair.Decision{Take: d.Take, Delete: d.Delete, Accept: d.Accept, Newest: d.Newest, OnlyParked: true})
	switch {
	case err != nil:
		return "", err
	case got.Err != nil:
		return "", fmt.Errorf("it stays parked: %w", got.Err)
	case !got.Done:
		return "", errors.New("it stays parked: it could not be settled")
	}
	return "settled: " + got.Action, nil
}

// settlePatience is less than what the admin listener has for an answer.
const settlePatience = 25 * time.Second

// retry has repair try a parked key again.
func (p *Proxy) retry(t *task.Task) (result string, err error) {
	t.Parked, t.Tries, t.NotBefore, t.LastError = "", 0, time.Time{}, ""
	if ok, err := p.journal.Note(t); err != nil {
		return "", err
	} else if !ok {
		return "", errors.New("it has changed meanwhile: look again")
	}
	r := p.repairer.Load()
	if r == nil {
		return "not parked any more: akubra repair tries it again", nil
	}
	r.Prefer(t.Bucket, t.Key)
	r.Kick()
	return "not parked any more: repair tries it again", nil
}

// synclogTee gives each line of the synclog to the page as well.
type synclogTee struct {
	io.Writer
	p *Proxy
}

func (t synclogTee) Write(line []byte) (int, error) {
	if a := t.p.admin; a != nil { // nothing is recorded before it is made
		a.Line(line)
	}
	return t.Writer.Write(line)
}
