package repair

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/akubra/akubra/synclog/repair/client"
	"github.com/akubra/akubra/synclog/task"
)

// verifier is one run of Verify.
type verifier struct {
	o     VerifyOptions
	r     *Repairer // for its looks at backends; it never runs
	check chan toCheck

	mu    sync.Mutex // of all below, and of the callbacks
	sum   VerifySummary
	err   error // the journal's, which ends it
	shown time.Time
	next  int                 // the number of the key that is to be told of next
	ready map[int]*Difference // that come behind it; nil: it is none
	told  map[string]bool     // what a backend does not keep
}

// toCheck is a key with its number, by which differences are put in order.
type toCheck struct {
	n   int
	key string
}

// Verify walks the listings of a bucket on all backends side by side and reports every key that is
// not the same. It keeps only a few pages of each listing. What looks different in the listings is
// looked at again, key by key, because it may have been written meanwhile. The error is that of a
// listing that failed: then not everything was seen.
func Verify(ctx context.Context, o VerifyOptions) (VerifySummary, error) {
	if o.Log == nil {
		o.Log = silence{}
	}
	o.Concurrency = defaultTo(o.Concurrency, 4)
	journal := o.Journal
	if journal == nil {
		journal = noJournal{}
	}
	r, err := New(Options{
		Backends: o.Backends, Journal: journal, Log: o.Log, DialTimeout: o.DialTimeout, Timeout: o.Timeout,
		Concurrency: o.Concurrency, ObjectsPerSecond: o.ObjectsPerSecond, IgnoreETags: o.IgnoreETags, Memory: o.Memory,
	})
	if err != nil {
		return VerifySummary{}, err
	}
	v := &verifier{o: o, r: r, check: make(chan toCheck, o.Concurrency), ready: map[int]*Difference{}, told: map[string]bool{}}
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		for _, b := range r.backends {
			b.Close()
		}
	}()
	var workers sync.WaitGroup
	for range o.Concurrency {
		workers.Go(func() {
			for c := range v.check {
				v.done(ctx, cancel, c.n, v.look(ctx, c.key))
			}
		})
	}
	err = v.walk(ctx)
	close(v.check)
	workers.Wait()
	v.progress()
	return v.sum, errors.Join(err, v.err)
}

// walk merges the listings. A backend whose listing is out of order costs looks at single keys,
// but no false alarms.
func (v *verifier) walk(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	listings := make([]*listing, len(v.r.backends))
	for i, b := range v.r.backends {
		listings[i] = startListing(ctx, b, v.o.Bucket, v.o.Prefix)
	}
	defer func() {
		cancel()
		for _, l := range listings {
			l.wait()
		}
	}()
	heads := make([]*client.Entry, len(listings))
	for i, l := range listings {
		heads[i] = l.next()
	}
	if err := failed(listings); err != nil {
		return err
	}
	if err := v.buckets(ctx, listings); err != nil {
		return err
	}
	if err := v.versioning(ctx, listings); err != nil {
		return err
	}
	for n, checks := 0, 0; ; n++ {
		if err := failed(listings); err != nil {
			return err
		}
		first := -1
		for i, h := range heads {
			if h != nil && (first < 0 || h.Key < heads[first].Key) {
				first = i
			}
		}
		if first < 0 {
			return ctx.Err()
		}
		key, equal := heads[first].Key, true
		for _, h := range heads {
			equal = equal && h != nil && h.Key == key && h.Size == heads[first].Size &&
				(v.o.IgnoreETags || h.ETag == heads[first].ETag)
		}
		for i, h := range heads {
			if h != nil && h.Key == key {
				heads[i] = listings[i].next()
			}
		}
		v.mu.Lock()
		v.sum.Keys++
		v.sum.Last = key
		v.mu.Unlock()
		if n%pageKeys == pageKeys-1 {
			v.progress()
		}
		if equal && !v.o.Deep {
			continue
		}
		select {
		case v.check <- toCheck{checks, key}:
			checks++
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// failed is the error of a listing that has ended before its end.
func failed(listings []*listing) error {
	for _, l := range listings {
		if l.ended && l.err != nil {
			return l.err
		}
	}
	return nil
}

// buckets reports which backends lack the whole bucket.
func (v *verifier) buckets(ctx context.Context, listings []*listing) error {
	d := Difference{Bucket: v.o.Bucket, Kind: DiffBucket}
	lacking := 0
	for i, l := range listings {
		lacks := l.ended && l.noBucket
		if lacks {
			lacking++
		}
		d.Have = append(d.Have, Have{Backend: v.r.backends[i].name, Present: !lacks})
	}
	switch lacking {
	case 0:
		return nil
	case len(listings):
		return fmt.Errorf("cannot verify bucket %q: no backend has it", v.o.Bucket)
	}
	if v.o.Missing != MissingCopy {
		d.owed = v.all()
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.tellLocked(ctx, &d)
	return v.err
}

func (v *verifier) all() (names []string) {
	for _, b := range v.r.backends {
		names = append(names, b.name)
	}
	return names
}

// done takes the result for a key, and reports in order what is known by now.
func (v *verifier) done(ctx context.Context, cancel context.CancelFunc, n int, d *Difference) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ready[n] = d
	for {
		d, known := v.ready[v.next]
		if !known {
			break
		}
		delete(v.ready, v.next)
		v.next++
		if d != nil && ctx.Err() == nil {
			v.tellLocked(ctx, d)
		}
	}
	if v.err != nil {
		cancel()
	}
	if now := time.Now(); now.Sub(v.shown) > progressEvery {
		v.shown = now
		v.progressLocked()
	}
}

const progressEvery = 100 * time.Millisecond

// tellLocked counts a difference, calls back, and journals it.
func (v *verifier) tellLocked(ctx context.Context, d *Difference) {
	v.sum.Differences++
	switch d.Kind {
	case DiffMissing:
		v.sum.Missing++
	case DiffBucket:
		v.sum.Buckets++
	case DiffSetting:
		v.sum.Settings++
	case DiffDamaged:
		v.sum.Damaged++
	case DiffError:
		v.sum.Errors++
	}
	if v.o.OnDifference != nil {
		v.o.OnDifference(*d)
	}
	if v.o.Journal == nil || d.parked || d.Kind == DiffError || ctx.Err() != nil || v.err != nil {
		return
	}
	found := task.Write{Aspect: task.Found, Target: client.Path(d.Bucket, d.Key), Reason: "verify: " + d.Kind}
	if d.Kind == DiffSetting {
		found.Target += "?" + d.What
	}
	found.Owed = d.owed
	for _, h := range d.Have {
		if d.owed != nil {
			break
		}
		if lacks := d.Kind == DiffMissing || d.Kind == DiffBucket; !lacks || !h.Present {
			found.Owed = append(found.Owed, h.Backend)
		}
	}
	t := task.Task{Bucket: d.Bucket, Key: d.Key, Writes: []task.Write{found}}
	if d.Key == "" {
		t.Target = found.Target
	}
	if err := v.o.Journal.Add(&t); err != nil {
		v.err = fmt.Errorf("cannot journal a difference: %w", err)
		return
	}
	v.sum.Added++
}

func (v *verifier) progress() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.progressLocked()
}

func (v *verifier) progressLocked() {
	v.sum.Bytes = int64(v.r.counts.compared.Load()) //nolint:gosec // bytes
	if v.o.Progress != nil {
		v.o.Progress(v.sum)
	}
}

// noJournal is the journal of a verify that journals nothing.
type noJournal struct{ Journal }

// VerifyAll verifies all buckets that any backend has, one after the other, in order. Its error joins
// those of all buckets.
func VerifyAll(ctx context.Context, o VerifyOptions) (VerifySummary, error) {
	buckets, err := allBuckets(ctx, &o)
	if err != nil {
		return VerifySummary{}, err
	}
	var sum VerifySummary
	var errs []error
	for _, bucket := range buckets {
		o.Bucket = bucket
		s, err := Verify(ctx, o)
		errs = append(errs, err)
		sum.add(&s)
		if ctx.Err() != nil {
			break
		}
	}
	return sum, errors.Join(errs...)
}

func (s *VerifySummary) add(o *VerifySummary) {
	s.Keys += o.Keys
	s.Differences += o.Differences
	s.Missing += o.Missing
	s.Buckets += o.Buckets
	s.Settings += o.Settings
	s.Damaged += o.Damaged
	s.Errors += o.Errors
	s.Added += o.Added
	s.Busy += o.Busy
	s.NotKept += o.NotKept
	s.Bytes += o.Bytes
	s.Last = o.Last
}

func allBuckets(ctx context.Context, o *VerifyOptions) (all []string, err error) {
	log := o.Log
	if log == nil {
		log = silence{}
	}
	backends, err := newBackends(o.Backends, defaultTo(o.DialTimeout, 3*time.Second), defaultTo(o.Timeout, 30*time.Second), 1, log)
	if err != nil {
		return nil, err
	}
	for _, b := range backends {
		names, err := b.Buckets(ctx)
		b.Close()
		if err != nil {
			return nil, fmt.Errorf("cannot list the buckets: %w", err)
		}
		all = append(all, names...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}
