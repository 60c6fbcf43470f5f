package engine

import (
	"net/url"
	"strings"
	"time"

	"github.com/akubra/akubra/engine/content"
	"github.com/akubra/akubra/http1"
	"github.com/akubra/akubra/s3"
)

// An upload by form (S3 API reference, "POST Object") writes one object whose key stands in the
// form, before the file. So the body is examined as it passes (content.Form): the key must be known
// before any backend can have the whole file, because the journal keeps the write, and repair finds
// the object, under that key (R20, R34).

// beginForm records that the write of a form's file is about to go to the backends.
func (r *request) beginForm(key string) *s3Error {
	if len(r.head.target.Bucket) == 0 {
		key = "" // it would be some other bucket's
	}
	var t *turn
	if key != "" {
		t = new(turn) // the request's own may be looked at: it may have been settled
		if !r.e.writes.beginWithin(t, hashKey(r.head.target.Bucket, key), r.writer(), r.o.SlotTimeout) {
			return errKeyBusy
		}
	}
	var began uint64
	var write JournalWrite
	taken := false
	defer func() {
		if taken { // it has come to be the request's
			return
		}
		if t != nil {
			startNext(r.e.writes.leave(t), false)
		}
		if write != nil {
			write.End()
		}
	}()
	var err error
	if r.e.o.Journal != nil {
		began = r.e.o.Journal.Stamp(time.Now())
		write, err = r.e.o.Journal.Begin(r.head.method, r.head.target.Bucket, []byte(key), r.head.host, r.head.raw)
	}
	if err != nil {
		return r.notBegun(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if taken = !r.allEndedLocked(); taken { // else every backend has refused it already, and it has been settled
		r.head.target.Key = []byte(s3.Escape(key))
		r.ledger.beginForm([]byte(key), t, began, write)
	}
	return nil
}

// mayBePositive reports whether the answer's status can be that of a successful write.
func (l *leg) mayBePositive() bool {
	return l.answer.Status < 300 || l.r.head.is(s3.KindForm) && l.answer.Status == 303
}

// location returns what the answer to an upload by form says about the object: a redirection in
// its query, any other answer in its path.
func (l *leg) location() (key, etag string) {
	u, err := url.Parse(string(http1.Field(l.answer.Raw, "Location")))
	if err != nil {
		return "", ""
	}
	if l.answer.Status == 303 {
		for rest := u.RawQuery; rest != ""; {
			var param string
			param, rest, _ = strings.Cut(rest, "&")
			name, value, _ := strings.Cut(param, "=")
			// The form's own URL may have had such parameters; they come before these.
			if value, err = url.QueryUnescape(value); err != nil {
				continue
			}
			switch name {
			case "key":
				key = value
			case "etag":
				etag = s3.Unquote(value)
			}
		}
		return key, etag
	}
	bucket := string(l.r.head.target.Bucket)
	key = strings.TrimPrefix(u.Path, "/")
	if !strings.HasPrefix(u.Host, bucket+".") {
		var ok bool
		if key, ok = strings.CutPrefix(key, bucket+"/"); !ok {
			return "", ""
		}
	}
	return key, ""
}

// readForm makes the request an upload by form if it is one.
func (r *request) readForm(contentType []byte) {
	if !r.head.is(s3.KindPlain) || r.head.method != "POST" || len(r.head.target.Key) > 0 || r.head.target.Sub || r.race.isRead() {
		return
	}
	f := content.NewForm(contentType, r.head.contentLength)
	if f == nil {
		return
	}
	r.head.kind, r.head.form = s3.KindForm, f
	f.Ended = r.ledger.setMade
	f.Begin = func(key string) error {
		if problem := r.beginForm(key); problem != nil {
			return problem
		}
		r.startForm()
		return nil
	}
}

// startForm lets the legs start, now that the table of writes in flight has the key, and so knows
// what they have to follow (R19): at once where nobody knows how much is to come, else as those of
// any other body. A form whose beginning does not fit into the ring has started them before.
func (r *request) startForm() {
	if r.message.Started() {
		return
	}
	r.progress(r.e.now())
	if r.head.chunked {
		r.message.Start()
	} else {
		r.client.beforeWaiting(r.startFn)
	}
}
