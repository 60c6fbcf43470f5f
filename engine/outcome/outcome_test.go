package outcome

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/akubra/akubra/engine/pick"
	"github.com/akubra/akubra/s3"
)

// Legs as the tables have them: a backend and what it has come to.

func took(backend, order int) Leg {
	return Leg{Backend: backend, Vote: pick.Vote{State: pick.Positive, Order: order}, Status: 200, Outcome: "positive"}
}

func tagged(backend, order int, etag string) Leg {
	f := took(backend, order)
	f.ETag = []byte(etag)
	return f
}

func told(backend, order int, key string) Leg {
	f := took(backend, order)
	f.Key, f.Status = key, 303
	return f
}

// kept is a positive answer to a multi-object delete that says why it has not deleted a
// key.
func kept(backend, order int, problem string) Leg {
	f := took(backend, order)
	f.Problem = problem
	return f
}

func unreadable(backend, order int) Leg {
	f := kept(backend, order, "unreadable")
	f.Unknown = true
	return f
}

func isOut(backend int) Leg { return Leg{Backend: backend} }

func refused(backend, order, status int) Leg {
	return Leg{
		Backend: backend, Vote: pick.Vote{State: pick.Negative, Order: order}, Status: status, Outcome: "negative",
		Err: fmt.Sprint("answered ", status),
	}
}

func failed(backend, order int, outcome string) Leg {
	return Leg{Backend: backend, Vote: pick.Vote{State: pick.Failed, Order: order}, Outcome: outcome, Err: "no answer"}
}

// hadAll is a leg that failed when the backend had all of the message.
func hadAll(backend, order int) Leg {
	f := failed(backend, order, "failed")
	f.Acted = true
	return f
}

func skipped(backend int, reason string) Leg {
	return Leg{Backend: backend, Vote: pick.Vote{State: pick.Failed}, Outcome: reason, Err: reason}
}

// show puts the lacks into words: the backend, the one that it is recorded beside or -,
// the status, what metrics count, the error.
func (o *Outcome) show() string {
	var b strings.Builder
	for i := range o.Lacks {
		l := &o.Lacks[i]
		beside := "-"
		if l.Beside != Nobody {
			beside = fmt.Sprint(l.Beside)
		}
		fmt.Fprintf(&b, "%d/%s %d %s: %s", l.Backend, beside, l.Status, l.Reason, l.Err)
		if len(l.ETag) > 0 {
			fmt.Fprintf(&b, " (%s)", l.ETag)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// TestWhoLacksWhat names the cases that the rules speak of.
func TestWhoLacksWhat(t *testing.T) {
	type legs = []Leg
	const three = 0b111
	tests := []struct {
		name   string
		w      Write
		took   uint64
		unsure uint64
		owed   uint64
		why    string
		key    string
		lacks  []string
	}{
		{name: "all took it", w: Write{Legs: legs{took(0, 2), took(1, 1), took(2, 3)}}, took: three},
		{name: "R20 legs are out, and no reason is given", w: Write{Legs: legs{isOut(0), took(1, 1), isOut(2)}},
			took: 0b010, owed: 0b101},
		{name: "R20 a leg is out, another one has failed",
			w:    Write{Legs: legs{isOut(0), took(1, 2), failed(2, 1, "failed")}},
			took: 0b010, owed: 0b101, why: "no answer", lacks: []string{"2/1 0 failed: no answer"}},
		{name: "R15 negative", w: Write{Legs: legs{took(0, 1), refused(1, 2, 403)}},
			took: 1, owed: 0b10, why: "answered 403", lacks: []string{"1/0 403 negative: answered 403"}},
		{name: "R15 no answer", w: Write{Legs: legs{failed(0, 1, "failed"), took(1, 2)}},
			took: 0b10, owed: 1, why: "no answer", lacks: []string{"0/1 0 failed: no answer"}},
		{name: "R10 stalled", w: Write{Legs: legs{took(0, 1), failed(1, 2, "stalled")}},
			took: 1, owed: 0b10, why: "no answer", lacks: []string{"1/0 0 stalled: no answer"}},
		{name: "R13 R14 demoted and maintained",
			w:    Write{Legs: legs{tagged(1, 1, "a"), skipped(0, "demoted"), skipped(2, "maintained")}},
			took: 0b10, owed: 0b101, why: "demoted",
			lacks: []string{"0/1 0 demoted: demoted (a)", "2/1 0 maintained: maintained (a)"}},
		{name: "R15 the first reason is the journal's",
			w:    Write{Legs: legs{refused(0, 3, 507), took(1, 1), failed(2, 2, "failed"), skipped(3, "demoted")}},
			took: 0b10, unsure: 1, owed: 0b1101, why: "answered 507",
			lacks: []string{"0/1 507 negative: answered 507", "2/1 0 failed: no answer", "3/1 0 demoted: demoted"}},
		{name: "R15 beside the first by time", w: Write{Legs: legs{took(0, 3), refused(1, 1, 500), took(2, 2)}},
			took: 0b101, unsure: 0b10, owed: 0b10, why: "answered 500", lacks: []string{"1/2 500 negative: answered 500"}},
		{name: "R16 nobody took it, so there is no line",
			w:      Write{Legs: legs{refused(0, 1, 503), hadAll(1, 2), refused(2, 3, 500)}},
			unsure: 0b110, owed: three, why: "answered 503",
			lacks: []string{"0/- 503 negative: answered 503", "1/- 0 failed: no answer", "2/- 500 negative: answered 500"}},
		{name: "R29 who does not know such a write has not taken it",
			w:      Write{Legs: legs{refused(0, 1, 501), refused(1, 2, 503), refused(2, 3, 502)}},
			unsure: 0b100, owed: three, why: "answered 501",
			lacks: []string{"0/- 501 negative: answered 501", "1/- 503 negative: answered 503", "2/- 502 negative: answered 502"}},
		{name: "R33 who had all of it is unsure, who had not is not",
			w:    Write{Legs: legs{took(0, 1), hadAll(1, 2), failed(2, 3, "failed")}},
			took: 1, unsure: 0b010, owed: 0b110, why: "no answer",
			lacks: []string{"1/0 0 failed: no answer", "2/0 0 failed: no answer"}},
		{name: "R30 a copy whose source is owed", w: Write{Kind: s3.KindCopy, Legs: legs{tagged(0, 1, "a"), skipped(1, "owes the copy's source")}},
			took: 1, owed: 0b10, why: "owes the copy's source", lacks: []string{"1/0 0 " + "owes the copy's source" + ": " + "owes the copy's source" + " (a)"}},

		{name: "R18 one ETag in two ways of writing", w: Write{Compare: true, Legs: legs{tagged(0, 1, "aB"), tagged(1, 2, "Ab")}}, took: 0b11},
		{name: "R18 two ETags: both owe it, and the later one is recorded",
			w:    Write{Compare: true, Legs: legs{tagged(0, 2, "a"), tagged(1, 1, "b")}},
			took: 0b11, owed: 0b11, why: ETagMismatch,
			lacks: []string{"0/1 200 etag: etag mismatch (b)", "1/- 200 etag: etag mismatch (b)"}},
		{name: "R18 they are not compared", w: Write{Legs: legs{tagged(0, 2, "a"), tagged(1, 1, "b")}}, took: 0b11},
		{name: "R18 the first has none, and the others are one",
			w: Write{Compare: true, Legs: legs{tagged(0, 1, ""), tagged(1, 2, "a"), tagged(2, 3, "a")}}, took: three},
		{name: "R18 the first has none, and the others differ",
			w:    Write{Compare: true, Legs: legs{tagged(0, 1, ""), tagged(1, 2, "a"), tagged(2, 3, "b")}},
			took: three, owed: three, why: ETagMismatch,
			lacks: []string{"0/- 200 etag: etag mismatch", "1/- 200 etag: etag mismatch", "2/0 200 etag: etag mismatch (a)"}},
		{name: "R18 the ETag that is known by then is recorded",
			w:    Write{Compare: true, Legs: legs{refused(0, 2, 403), tagged(1, 1, ""), tagged(2, 3, "a"), skipped(3, "demoted")}},
			took: 0b110, owed: 0b1001, why: "answered 403",
			lacks: []string{"0/1 403 negative: answered 403", "3/1 0 demoted: demoted (a)"}},
		{name: "R18 a mismatch is more of a reason than a refusal",
			w:    Write{Compare: true, Legs: legs{refused(0, 1, 403), tagged(1, 2, "a"), tagged(2, 3, "b")}},
			took: 0b110, owed: three, why: ETagMismatch,
			lacks: []string{"0/1 403 negative: answered 403 (a)", "1/- 200 etag: etag mismatch (a)", "2/1 200 etag: etag mismatch (a)"}},
		{name: "R18 a refusal's ETag is not the object's",
			w: Write{Compare: true, Legs: legs{
				tagged(0, 2, "a"), {Backend: 1, Vote: pick.Vote{State: pick.Negative, Order: 1}, Status: 412, Outcome: "negative", Err: "answered 412", ETag: []byte("b")},
			}},
			took: 1, owed: 0b10, why: "answered 412", lacks: []string{"1/0 412 negative: answered 412 (a)"}},

		{name: "R26 a completed upload is on one backend alone",
			w:    Write{Kind: s3.KindComplete, All: three, Legs: legs{tagged(1, 1, "a-2")}},
			took: 0b010, owed: 0b101, why: MultipartUpload,
			lacks: []string{"0/1 0 multipart: multipart upload (a-2)", "2/1 0 multipart: multipart upload (a-2)"}},
		{name: "R26 of an upload that all were asked for",
			w:    Write{Kind: s3.KindComplete, All: three, Legs: legs{refused(0, 1, 404), took(1, 2), took(2, 3)}},
			took: 0b110, owed: 0b111, why: MultipartUpload,
			lacks: []string{"0/1 0 multipart: multipart upload", "1/- 0 multipart: multipart upload", "2/- 0 multipart: multipart upload"}},
		{name: "R26 a completion that nobody took",
			w:    Write{Kind: s3.KindComplete, All: 0b11, Legs: legs{refused(0, 1, 404)}},
			owed: 0b11, why: "answered 404",
			lacks: []string{"0/- 0 multipart: multipart upload", "1/- 0 multipart: multipart upload"}},
		{name: "R26 a completion that is out", w: Write{Kind: s3.KindComplete, All: 0b11, Legs: legs{isOut(0)}},
			owed: 0b11, why: MultipartUpload,
			lacks: []string{"0/- 0 multipart: multipart upload", "1/- 0 multipart: multipart upload"}},
		{name: "R26 a part is one backend's own", w: Write{Kind: s3.KindPart, Legs: legs{took(0, 1), refused(1, 2, 404)}}, took: 1},

		{name: "R35 a version that both took",
			w:    Write{All: 0b11, Version: true, Legs: legs{took(0, 2), took(1, 1)}},
			took: 0b11, owed: 0b11, why: VersionOfAnother,
			lacks: []string{"0/1 200 version: version id", "1/0 200 version: version id"}},
		{name: "R35 a version that one took: it may be the other's",
			w:    Write{All: three, Version: true, Compare: true, Legs: legs{took(0, 1), refused(1, 2, 404), skipped(2, "demoted")}},
			took: 1, owed: three, why: VersionOfAnother,
			lacks: []string{"0/- 200 version: version id", "1/0 404 negative: answered 404", "2/0 0 demoted: demoted"}},
		{name: "R35 a version of the only backend", w: Write{All: 1, Version: true, Legs: legs{took(0, 1)}}, took: 1},

		{name: "R34 a form, under its own key",
			w:    Write{Kind: s3.KindForm, Bucket: true, Key: "k", Legs: legs{told(0, 1, "k"), told(1, 2, "/k"), told(2, 3, "")}},
			took: three, key: "k"},
		{name: "R34 a form, under the first one's key",
			w:    Write{Kind: s3.KindForm, Bucket: true, Key: "k-${filename}", Legs: legs{told(0, 2, "k-${filename}"), told(1, 1, "k-a")}},
			took: 0b11, owed: 1, why: AnotherKey, key: "k-a", lacks: []string{"0/1 303 key: stored under another key"}},
		{name: "R34 a form in a bucket that is not known",
			w:    Write{Kind: s3.KindForm, Legs: legs{told(0, 2, "k"), told(1, 1, "k")}},
			took: 0b11, owed: 1, why: AnotherKey, lacks: []string{"0/1 303 key: stored under another key"}},
		{name: "R34 what has another key has another ETag, too",
			w: Write{Kind: s3.KindForm, Bucket: true, Compare: true, Key: "k", Legs: legs{
				tagged(0, 1, "a"), {Backend: 1, Vote: pick.Vote{State: pick.Positive, Order: 2}, Status: 303, Key: "j", ETag: []byte("b")},
			}},
			took: 0b11, owed: 0b10, why: AnotherKey, key: "k", lacks: []string{"1/0 303 key: stored under another key (a)"}},

		{name: "R24 a key that all deleted", w: Write{Kind: s3.KindDelete, Listed: true, Legs: legs{took(0, 1), took(1, 2)}}, took: 0b11},
		{name: "R24 a key that nobody deleted is as it was",
			w: Write{Kind: s3.KindDelete, Listed: true, Legs: legs{kept(0, 1, "not deleted: AccessDenied"), refused(1, 2, 403)}}},
		{name: "R24 a key that one kept",
			w:    Write{Kind: s3.KindDelete, Listed: true, Legs: legs{kept(0, 1, "not deleted: AccessDenied"), took(1, 2)}},
			took: 0b10, owed: 1, why: "not deleted: AccessDenied", lacks: []string{"0/1 200 positive: not deleted: AccessDenied"}},
		{name: "R24 the first by place, and the last reason",
			w: Write{Kind: s3.KindDelete, Listed: true, Legs: legs{
				refused(0, 1, 503), took(1, 3), tagged(2, 2, "a"), skipped(3, "maintained"),
			}},
			took: 0b110, owed: 0b1001, why: "maintained",
			lacks: []string{"0/1 503 negative: answered 503", "3/1 0 maintained: maintained"}},
		{name: "R24 an answer that cannot be read: it may have deleted the key",
			w:    Write{Kind: s3.KindDelete, Listed: true, Legs: legs{unreadable(0, 1), refused(1, 2, 403)}},
			owed: 0b11, why: "answered 403",
			lacks: []string{"0/- 200 positive: unreadable", "1/0 403 negative: answered 403"}},
		{name: "R24 two answers that cannot be read: the first one",
			w:    Write{Kind: s3.KindDelete, Listed: true, Legs: legs{unreadable(0, 2), unreadable(1, 1)}},
			owed: 0b11, why: "unreadable",
			lacks: []string{"0/- 200 positive: unreadable", "1/0 200 positive: unreadable"}},
		{name: "R24 who is known to have deleted it goes before",
			w:    Write{Kind: s3.KindDelete, Listed: true, Legs: legs{unreadable(0, 1), took(1, 2)}},
			took: 0b10, owed: 1, why: "unreadable", lacks: []string{"0/1 200 positive: unreadable"}},
		{name: "R24 a leg that is out", w: Write{Kind: s3.KindDelete, Listed: true, Legs: legs{isOut(0), kept(1, 1, "not deleted: X")}}, owed: 1},
		{name: "R24 R35 a version that one deleted",
			w:    Write{Kind: s3.KindDelete, Listed: true, Version: true, All: 0b11, Legs: legs{took(0, 1), kept(1, 2, "not deleted: X")}},
			took: 1, owed: 0b11, why: VersionOfAnother,
			lacks: []string{"0/- 200 version: version id", "1/0 200 positive: not deleted: X"}},
		{name: "R24 R35 a version that nobody deleted, as far as they say",
			w:    Write{Kind: s3.KindDelete, Listed: true, Version: true, All: 0b11, Legs: legs{refused(0, 1, 403), refused(1, 2, 403)}},
			owed: 0b11, why: VersionOfAnother,
			lacks: []string{"0/- 403 negative: answered 403", "1/- 403 negative: answered 403"}},
		{name: "R24 a list that cannot be read is one write",
			w:    Write{Kind: s3.KindDelete, Legs: legs{took(0, 1), refused(1, 2, 403)}},
			took: 1, owed: 0b10, why: "answered 403", lacks: []string{"1/0 403 negative: answered 403"}},

		{name: "R19 overlapped, and all took it",
			w:    Write{Overlapped: three, Legs: legs{took(0, 2), tagged(1, 1, "a")}},
			took: 0b11, owed: three, why: OutOfOrder,
			lacks: []string{"0/1 0 concurrent: concurrent writes (a)", "1/- 0 concurrent: concurrent writes (a)", "2/1 0 concurrent: concurrent writes (a)"}},
		{name: "R19 overlapped, but one is known to lack it",
			w:    Write{Overlapped: 0b11, Legs: legs{took(0, 1), refused(1, 2, 403)}},
			took: 1, owed: 0b10, why: "answered 403",
			lacks: []string{"1/0 403 negative: answered 403", "0/- 0 concurrent: concurrent writes", "1/0 0 concurrent: concurrent writes"}},
		{name: "R19 not while a leg is out", w: Write{Overlapped: 0b11, Legs: legs{took(0, 1), isOut(1)}}, took: 1, owed: 0b10},
		{name: "R19 a key that only others have deleted",
			w:    Write{Kind: s3.KindDelete, Listed: true, Overlapped: 0b110, Legs: legs{kept(2, 1, "not deleted: X"), refused(0, 2, 403)}},
			owed: 0b110, why: OutOfOrder,
			lacks: []string{"1/2 0 concurrent: concurrent writes", "2/- 0 concurrent: concurrent writes"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := WhoLacks(&tt.w)
			if o.Took != tt.took || o.Unsure != tt.unsure || o.Owed != tt.owed || o.Why != tt.why || o.Key != tt.key {
				t.Errorf("took %b, unsure %b, owed %b for %q, key %q; want %b, %b, %b for %q, %q",
					o.Took, o.Unsure, o.Owed, o.Why, o.Key, tt.took, tt.unsure, tt.owed, tt.why, tt.key)
			}
			want := ""
			for _, l := range tt.lacks {
				want += l + "\n"
			}
			if got := o.show(); got != want {
				t.Errorf("lacks are\n%swant\n%s", got, want)
			}
		})
	}
}

// Whatever the legs have come to: none is forgotten, what is owed has a reason, and what
// is recorded is owed (R15, R20).
func TestR15R20WhatIsRecordedIsOwed(t *testing.T) {
	states := []func(backend, order int) Leg{
		func(b, _ int) Leg { return isOut(b) },
		func(b, o int) Leg { return tagged(b, o, "a") },
		func(b, o int) Leg { return tagged(b, o, "b") },
		func(b, o int) Leg { return told(b, o, "other") },
		func(b, o int) Leg { return refused(b, o, 500) },
		hadAll,
		func(b, _ int) Leg { return skipped(b, "demoted") },
	}
	n := len(states)
	for i := range n * n * n * 16 {
		w := Write{All: 0b111, Key: "k", Bucket: true, Compare: i&1 != 0, Version: i&2 != 0}
		w.Kind = []s3.Kind{s3.KindPlain, s3.KindForm, s3.KindComplete, s3.KindCopy}[i>>2&3]
		for b, s := 0, i/16; b < 3; b, s = b+1, s/n {
			w.Legs = append(w.Legs, states[s%n](b, 3-b))
		}
		o := WhoLacks(&w)
		recorded := uint64(0)
		for _, l := range o.Lacks {
			if l.Beside != Nobody {
				recorded |= 1 << l.Backend
			}
			if l.Beside != Nobody && o.Took&(1<<l.Beside) == 0 || l.Beside == l.Backend {
				t.Errorf("%+v: a record beside one that has not taken it", w)
			}
		}
		missing := w.All &^ (o.Took | o.Out)
		switch {
		case recorded&^o.Owed != 0 || missing&^o.Owed != 0 || o.Out&^o.Owed != 0:
			t.Errorf("%+v: recorded %b, missing %b, owed %b", w, recorded, missing, o.Owed)
		case o.Took != 0 && missing&^recorded != 0:
			t.Errorf("%+v: missing %b, recorded %b", w, missing, recorded)
		case (o.Owed != o.Out) != (o.Why != "") && w.Kind != s3.KindComplete && !w.Version:
			t.Errorf("%+v: owed %b, out %b, reason %q", w, o.Owed, o.Out, o.Why)
		case o.Took&(o.Out|o.Unsure) != 0 || o.Out&o.Unsure != 0:
			t.Errorf("%+v: took %b, out %b, unsure %b", w, o.Took, o.Out, o.Unsure)
		}
	}
}

// It keeps nothing of its argument's legs but what it says that it does, and changes none.
func TestWhoLacksChangesNothing(t *testing.T) {
	w := Write{Kind: s3.KindForm, Bucket: true, Compare: true, Key: "k", All: 0b111, Overlapped: 0b111, Legs: []Leg{
		told(0, 2, "j"), tagged(1, 1, "a"), tagged(2, 3, "b"),
	}}
	before := slices.Clone(w.Legs)
	a := WhoLacks(&w)
	b := WhoLacks(&w)
	if a.show() != b.show() || a.Owed != b.Owed || fmt.Sprint(before) != fmt.Sprint(w.Legs) {
		t.Errorf("%+v, then %+v of %+v, before %+v", a, b, w.Legs, before)
	}
}
