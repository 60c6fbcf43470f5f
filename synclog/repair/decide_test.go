package repair

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// parseStates reads backends as in "v1@10 -! ?": an ETag with the second of its
// Last-Modified, absent, unknown; "!" marks who is owed, "/m" other metadata,
// "#1" content that was compared.
func parseStates(t *testing.T, text string) []state {
	t.Helper()
	var states []state
	for _, word := range strings.Fields(text) {
		var s state
		word, s.owed = strings.CutSuffix(word, "!")
		switch word {
		case "?":
		case "-":
			s.is = absent
		default:
			s.is, s.size = present, 7
			word, content, _ := strings.Cut(word, "#")
			s.content, _ = strconv.Atoi(content)
			word, s.meta, _ = strings.Cut(word, "/")
			etag, at, ok := strings.Cut(word, "@")
			second, err := strconv.Atoi(at)
			if !ok || err != nil {
				t.Fatalf("what is %q?", word)
			}
			s.etag = etag
			if second > 0 {
				s.modified = time.Unix(int64(second), 0)
			}
		}
		states = append(states, s)
	}
	return states
}

func (d decision) String() string {
	switch d.action {
	case actWait:
		return "wait"
	case actResolve:
		return "resolve"
	}
	var s string
	switch d.action {
	case actCopy:
		s = fmt.Sprintf("copy %d to %v", d.source, d.targets)
	case actDelete:
		s = fmt.Sprintf("delete %v", d.targets)
	case actSub:
		s = fmt.Sprintf("sub %d", d.source)
	}
	if !d.complete {
		s += " for now"
	}
	return s
}

func TestDecide(t *testing.T) {
	t.Parallel()
	at := func(second int64) time.Time { return time.Unix(second, 0) }
	write := func(etag string, limit int64) event { return event{kind: eventWrite, etag: etag, limit: at(limit)} }
	deleted := func(limit int64) event { return event{kind: eventDelete, limit: at(limit)} }
	sub := event{kind: eventSub, limit: at(22)}
	none := event{}
	doubted := event{kind: eventWrite, etag: "v1", limit: at(22), doubt: true}
	for _, c := range []struct {
		name, states string
		event        event
		want         string
	}{
		{"equal", "v1@10 v1@12", write("v1", 22), "resolve"},
		{"equal, of another write", "v2@10 v2@12", write("v1", 22), "resolve"},
		{"equal, past the journal", "v2@90 v2@95", write("v1", 22), "resolve"},
		{"equal and absent", "- -", write("v1", 22), "resolve"},
		{"deleted everywhere", "- - -", deleted(22), "resolve"},
		{"equal, one is out", "v1@10 v1@10 ?", write("v1", 22), "wait"},
		{"nobody can be asked", "? ?", write("v1", 22), "wait"},
		{"one can be asked, and has it", "v1@10 ?!", write("v1", 22), "wait"},
		{"no backends", "", write("v1", 22), "wait"},

		// A write with a known ETag: who has it is right.
		{"missing at one", "v1@10 -!", write("v1", 22), "copy 0 to [1]"},
		{"missing at the first", "-! v1@10", write("v1", 22), "copy 1 to [0]"},
		{"older at one", "v1@5! v2@10", write("v2", 22), "copy 1 to [0]"},
		{"the other one is younger, by a slow leg", "v2@10 v1@20!", write("v2", 22), "copy 0 to [1]"},
		{"the other one is newer than can be from a leg", "v2@10 v3@30!", write("v2", 22), "copy 1 to [0]"},
		{"the oldest holder is what counts", "v2@10 v3@30 v2@45", write("v2", 22), "copy 1 to [0 2]"},
		{"a holder that was made again is newer itself", "v2@50 v3@30", write("v2", 22), "copy 0 to [1]"},
		{"one is out, but who has it answers", "v1@10 -! ?!", write("v1", 22), "copy 0 to [1] for now"},
		{"who has it is out", "? v0@5!", write("v1", 22), "wait"},
		{"who has it is out, two others differ", "? v0@5! -!", write("v1", 22), "wait"},
		{"newer than the event, but one is out", "? v3@30! -!", write("v1", 22), "wait"},
		// A write that nobody was told of came behind it: who had taken the last one
		// that somebody was told of is right, whatever became of it there.
		{"replaced at who had it", "v2@10 v0@10!", doubted, "copy 0 to [1]"},
		{"replaced at who had it, the stale one looks younger", "v2@10 v0@12!", doubted, "copy 0 to [1]"},
		{"deleted at who had it", "- v0@10!", doubted, "delete [1]"},
		{"who had it has it", "v1@10 v2@11!", doubted, "copy 0 to [1]"},
		{"deleted, but one is out", "- v0@10! ?", doubted, "wait"},
		{"deleted, nobody is in doubt", "- v0@10!", write("v1", 22), "copy 1 to [0]"},
		{"all are suspect", "-! v0@10!", doubted, "copy 1 to [0]"},
		{"nobody has it", "v2@10 v3@12", write("v1", 22), "copy 1 to [0]"},
		{"nobody has it, as young: who is not owed", "v2@10! v3@10", write("v1", 22), "copy 1 to [0]"},
		{"nobody has it, as young: the greater number", "v2@10 v3@10 v3@10", write("v1", 22), "copy 1 to [0]"},
		{"nobody has it, as young: the first", "v2@10 v3@10", write("v1", 22), "copy 0 to [1]"},
		{"within a second is as young", "v2@11! v3@10", write("v1", 22), "copy 1 to [0]"},
		{"no times at all", "v1@0 v2@0!", write("v1", 22), "copy 0 to [1]"},
		{"no times, nobody has it: who is not owed", "v2@0! v3@0", write("v1", 22), "copy 1 to [0]"},
		{"metadata differ: who is not owed", "v1@15/a! v1@10/b", write("v1", 22), "copy 1 to [0]"},
		{"metadata differ: the younger", "v1@10/a v1@15/b", write("v1", 22), "copy 1 to [0]"},
		{"sizes differ, as ETags never do", "v1@10 v1@10 v1@10/x!", write("v1", 22), "copy 0 to [2]"},

		// A write whose ETag is not known: who is owed nothing has taken it.
		{"not known: who is not owed", "v1@15! v2@10", write("", 22), "copy 1 to [0]"},
		{"not known: all are owed", "v1@15! v2@10!", write("", 22), "copy 0 to [1]"},
		{"not known, newer", "v1@35! v2@10", write("", 22), "copy 0 to [1]"},
		{"not known, one is out, who took it answers", "v1@10! v2@10 ?!", write("", 22), "copy 1 to [0] for now"},
		{"not known, who took it is out", "v1@10! v2@10! ?", write("", 22), "wait"},

		// No event: age, and nothing is ever deleted.
		{"unknown: the youngest", "v1@10 v2@20 v1@10", none, "copy 1 to [0 2]"},
		{"unknown: missing", "- v1@10", none, "copy 1 to [0]"},
		{"unknown: one is out, whose could be younger", "- v1@10 ?", none, "wait"},

		// A delete.
		{"deleted", "- v1@10!", deleted(22), "delete [1]"},
		{"deleted; a slow leg has put it since", "- v1@20!", deleted(22), "delete [1]"},
		{"deleted and made again, past the journal", "- v1@30!", deleted(22), "copy 1 to [0]"},
		{"deleted and made again, one is out", "- v1@30! ?", deleted(22), "wait"},
		{"deleted, at two", "v1@10! - v2@11!", deleted(22), "delete [0 2]"},
		{"deleted, of unknown age", "- v1@0!", deleted(22), "delete [1]"},
		{"deleted, one is out", "- v1@10! ?!", deleted(22), "delete [1] for now"},
		{"deleted, who did is out", "? v1@10! v0@10!", deleted(22), "wait"},
		{"deleted, but nobody says so", "v1@10! v2@11", deleted(22), "copy 1 to [0]"},
		{"deleted, but all have the same", "v1@10! v1@10", deleted(22), "resolve"},

		// Subresources.
		{"sub: equal objects", "v1@10! v1@10", sub, "sub 1"},
		{"sub: equal, who took it is out", "v1@10! v1@10! ?", sub, "wait"},
		{"sub: equal, another one is out", "v1@10! v1@10 ?!", sub, "sub 1 for now"},
		{"sub: all owed", "v1@10! v1@10!", sub, "sub 0"},
		{"sub: absent everywhere", "- -", sub, "resolve"},
		{"sub: the object is missing", "v1@10 -!", sub, "copy 0 to [1]"},
		{"sub: objects differ, who is not owed", "v1@10 v2@15!", sub, "copy 0 to [1]"},

		// Contents that were compared.
		{"other ETags, same content", "v1@10#1 x1@10#1", write("v1", 22), "resolve"},
		{"other ETags, other content", "v1@10#1 x1@10#2", write("v1", 22), "copy 0 to [1]"},
		{"same content, other metadata", "v1@10/a#1 x1@10/b#1!", write("v1", 22), "copy 0 to [1]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			states := parseStates(t, c.states)
			before := slices.Clone(states)
			if got := decide(states, c.event).String(); got != c.want {
				t.Errorf("%s: got %q, want %q", c.states, got, c.want)
			}
			if !slices.Equal(before, states) {
				t.Error("decide has changed its argument")
			}
		})
	}
}

// TestDecideConverges: whatever the backends have, doing what decide says makes
// them equal in one step, and never invents or, without a delete, loses an object.
func TestDecideConverges(t *testing.T) {
	t.Parallel()
	words := []string{"?", "-", "v1@10", "v1@30!", "v2@20!", "v2@40", "v3@15/m"}
	events := []event{
		{}, {kind: eventWrite, etag: "v1", limit: time.Unix(22, 0)}, {kind: eventWrite, limit: time.Unix(22, 0)},
		{kind: eventDelete, limit: time.Unix(22, 0)}, {kind: eventSub, limit: time.Unix(22, 0)},
	}
	n := len(words)
	for i := range n * n * n {
		text := words[i%n] + " " + words[i/n%n] + " " + words[i/n/n]
		for _, e := range events {
			states := parseStates(t, text)
			d := decide(states, e)
			switch d.action {
			case actCopy:
				if states[d.source].is != present {
					t.Fatalf("%s: %s from nothing", text, d)
				}
				for _, target := range d.targets {
					if states[target].is == unknown || target == d.source {
						t.Fatalf("%s: %s", text, d)
					}
					states[target] = states[d.source]
				}
			case actDelete:
				if e.kind != eventDelete {
					t.Fatalf("%s: %s without a delete", text, d)
				}
				for _, target := range d.targets {
					states[target] = state{is: absent}
				}
			case actWait:
				if d.complete {
					t.Fatalf("%s, event %v: nothing to be done, though all are known", text, e.kind)
				}
				continue
			}
			after := decide(states, e)
			if after.action == actCopy || after.action == actDelete {
				t.Fatalf("%s, event %v: after %s comes %s", text, e.kind, d, after)
			}
		}
	}
}
