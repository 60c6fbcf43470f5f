package repair

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/akubra/akubra/synclog/repair/client"
	"github.com/akubra/akubra/synclog/task"
)

// refusals keep a backend that takes no writes for reasons of its own (full, over a quota, read-only,
// no rights) from using up the tries of its keys. One write is tried after growing pauses, each time
// another key's if there is one, because the refusals may be about the keys tried so far.
type refusals struct {
	mu     sync.Mutex
	closed bool
	until  time.Time // of the next try
	pause  time.Duration
	turns  map[string]struct{} // keys that have had theirs since it was closed
	anyone bool                // all that are pending have
	streak []task.Task         // what was refused since the last write it took
	why    string
}

const (
	pauseFirst = time.Second
	pauseMost  = 5 * time.Minute
	// refusedInRow is how many writes in a row a backend has to refuse before a refusal that could
	// be about the key counts as being about the backend. Failures (500) must be of so many keys,
	// each of them a repeated failure: one key alone may be too much for the backend, and a write
	// that has failed once may well succeed a moment later.
	refusedInRow = 3
	// maxTurns are remembered of those that had their turn.
	maxTurns = 1024
)

// ownCodes say plainly that a refusal is not about the key.
var ownCodes = []string{
	"QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage", "StorageFull", "DiskFull",
	"XMinioReadQuorum", "XMinioWriteQuorum", "SlowDownWrite", "ReadOnly", "ReadOnlyMode", "ServerReadOnly", "XRustfsStorageFull",
}

// refusal reports whether an error is a refused write that may be due to the backend, and whether that
// is certain.
func refusal(err error) (maybe, sure bool) {
	var status int
	if e := client.AsError(err); e == nil || e.Method == http.MethodGet || e.Method == http.MethodHead {
		return false, false
	} else if status = e.Status; status == http.StatusInsufficientStorage || client.HasCode(err, ownCodes...) ||
		strings.Contains(strings.ToLower(e.Code+e.Message), "quota") || strings.Contains(strings.ToLower(e.Message), "read-only") {
		return true, true
	}
	switch status {
	case http.StatusMovedPermanently, http.StatusTemporaryRedirect, http.StatusPermanentRedirect, // it redirects writes
		http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return true, false
	}
	return status >= 500 && !client.Unsupported(err), false
}

// failsAt reports whether an error is a backend's failure at a write, rather than its refusal.
func failsAt(err error) bool {
	_, sure := refusal(err)
	return !sure && client.Status(err) >= 500 && client.Status(err) != http.StatusServiceUnavailable
}

// inARowLocked is how many refusals may be about the backend.
func (q *refusals) inARowLocked(err error) (n int) {
	if !failsAt(err) {
		return len(q.streak)
	}
	keys := map[string]struct{}{}
	for i := range q.streak {
		keys[taskID(&q.streak[i])] = struct{}{}
	}
	return len(keys)
}

// mayWrite reports whether a backend takes writes, or it is time to try one, and this
// key's turn.
func (r *Repairer) mayWrite(b *backend, t *task.Task) bool {
	q := &b.refusals
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		return true
	}
	now := r.o.Now()
	if !q.isTurnLocked(t, now) {
		return false
	}
	q.until = now.Add(q.pause)
	if _, had := q.turns[taskID(t)]; had || q.turns == nil || len(q.turns) >= maxTurns {
		q.turns = map[string]struct{}{}
	}
	q.turns[taskID(t)], q.anyone = struct{}{}, false
	return true
}

// writable is mayWrite without taking the turn.
func (r *Repairer) writable(b *backend, t *task.Task) bool {
	q := &b.refusals
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.closed || q.isTurnLocked(t, r.o.Now())
}

// isTurnLocked reports whether a key may be tried.
func (q *refusals) isTurnLocked(t *task.Task, now time.Time) bool {
	_, had := q.turns[taskID(t)]
	return !now.Before(q.until) && (!had || q.anyone)
}

// passed notes that all pending keys were seen since begun: if a turn was free and none has taken it,
// all have had theirs.
func (r *Repairer) passed(begun time.Time) {
	for _, b := range r.backends {
		q := &b.refusals
		q.mu.Lock()
		if q.closed && !begun.Before(q.until) && !q.anyone {
			q.anyone = true
			r.Kick()
		}
		q.mu.Unlock()
	}
}

// wrote notes that a backend has taken a write.
func (r *Repairer) wrote(b *backend) {
	q := &b.refusals
	q.mu.Lock()
	was := q.closed
	q.closed, q.streak, q.pause, q.turns, q.anyone = false, nil, 0, nil, false
	q.mu.Unlock()
	if r.o.OnWrote != nil {
		r.o.OnWrote(b.name)
	}
	if was {
		b.log.Info("a backend takes writes again", "backend", b.name)
		r.counts.recent.restart()
		r.Kick()
	}
}

// refusedWrite notes a refusal, and reports whether it is the backend's own.
func (r *Repairer) refusedWrite(ctx context.Context, b *backend, t *task.Task, err error) bool {
	maybe, sure := refusal(err)
	if !maybe {
		return false
	}
	q := &b.refusals
	q.mu.Lock()
	if t.Tries == 0 && !q.closed && failsAt(err) {
		q.mu.Unlock()
		return false
	}
	q.streak = append(q.streak, *t)
	if !sure && !q.closed && q.inARowLocked(err) < refusedInRow {
		q.mu.Unlock()
		return false
	}
	was, earlier := q.closed, q.streak
	q.closed, q.streak, q.why = true, nil, err.Error()
	q.pause = min(max(2*q.pause, pauseFirst), pauseMost)
	wait := q.pause/2 + jitter(q.pause/2)
	q.until = r.o.Now().Add(wait)
	q.mu.Unlock()
	r.later(ctx, wait, r.Kick)
	if r.o.OnRefused != nil {
		r.o.OnRefused(b.name, err)
	}
	if was {
		return true
	}
	b.log.Warn("a backend takes no writes: its keys wait", "backend", b.name, "error", err.Error())
	tries := t.Tries
	for i := range earlier {
		if taskID(&earlier[i]) == taskID(t) {
			tries = min(tries, earlier[i].Tries)
		} else {
			r.giveBack(&earlier[i])
		}
	}
	if tries < t.Tries {
		t.Tries = tries
		r.note(t)
	}
	return true
}

// refusesBucket reports whether a backend that has refused or failed to show an object shows nothing of its bucket, or no
// object of it: its rights were withdrawn, it sends everybody elsewhere, the bucket is in another region, or it fails.
// That is not about the key.
func (r *Repairer) refusesBucket(ctx context.Context, b *backend, t *task.Task, err error) bool {
	e := client.AsError(err)
	if e == nil || !refusesLook(e) {
		return false
	}
	page, listErr := b.List(ctx, t.Bucket, "", client.Next{}, refusedListed)
	var shows string
	switch {
	case client.Status(listErr) == e.Status:
		err, shows = listErr, "nothing"
	case listErr == nil && b.refusesOthers(ctx, t, e, page.Entries):
		shows = "no object"
	default:
		return false
	}
	r.warnOnce("bucket "+b.name+" "+t.Bucket, "a backend shows "+shows+" of a bucket: its keys wait", "backend", b.name, "bucket", t.Bucket, "error", err.Error())
	return true
}

// refusesLook reports whether an answer may be what a backend has for everybody who looks.
func refusesLook(e *client.Error) bool {
	switch e.Status {
	case http.StatusBadRequest: // the region or the token
		return backendFault(e)
	case http.StatusMethodNotAllowed, http.StatusTooManyRequests:
		return looks(e)
	case http.StatusUnauthorized, http.StatusForbidden:
		return true
	}
	return e.Status/100 == 3 || e.Status >= 500 && looks(e)
}

func looks(e *client.Error) bool { return e.Method == http.MethodHead || e.Method == http.MethodGet }

// refusedListed is how many keys are listed, of which some are looked at.
const refusedListed = 100

// refusesOthers reports whether a backend that lists a bucket answers in the same way to a look at what cannot be damaged, for
// it is not there, or else at other objects, which with this one are as many as have to be refused in a row.
func (b *backend) refusesOthers(ctx context.Context, t *task.Task, e *client.Error, listed []client.Entry) bool {
	if !looks(e) {
		return false
	}
	refuses := func(key string) bool {
		_, err := b.Discard(ctx, &client.Request{Method: e.Method, Bucket: t.Bucket, Key: key, Header: http.Header{"Range": {"bytes=0-0"}}})
		return client.Status(err) == e.Status
	}
	beside := t.Key[:strings.LastIndexByte(t.Key, '/')+1] // rights may end at a prefix
	if refuses(beside + "akubra-" + strconv.FormatUint(rand.Uint64(), 36)) {
		return true
	}
	others := slices.DeleteFunc(listed, func(o client.Entry) bool { return o.Key == t.Key })
	rand.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] }) // those at the front may be damaged, too
	return len(others) >= refusedInRow-1 && !slices.ContainsFunc(others[:refusedInRow-1], func(o client.Entry) bool { return !refuses(o.Key) })
}

// giveBack gives a key the try back that a backend's own refusal has used up.
func (r *Repairer) giveBack(was *task.Task) {
	t, _, ok, err := r.o.Journal.Next(was.Place)
	if err != nil || !ok || taskID(&t) != taskID(was) || t.Tries == 0 {
		return
	}
	t.Place = was.Place
	t.Tries--
	t.NotBefore = time.Time{}
	if t.Parked == task.Failed {
		t.Parked = ""
	}
	r.note(&t)
}
