package repair

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

var update = flag.Bool("update", false, "write the plan's table into docs/REPAIR.md")

// row is one line of the plan's table. Backends are A, B and C.
//
// known is what was acknowledged, and what may have landed after it: "PUT v1 (A)", which A
// took and the others owe, "with tags" or "with tags and metadata", which it brought, or "with own ETags", which tell nothing of one another; "| PUT v2 (B)" overlapped it, "| PUT v2?" is of unknown outcome,
// as is "PUT ?", whose ETag nobody knows, and "PUT ? (A)", which only A may have; "found (B)" is a difference, after which only B
// is to change. "after PUT v0 (A B)" came before it for the clients, and was late at some. "beside repair"
// began while repair was at the key, and is owed by all; "beside others" overlapped with writes that are not all known.
//
// shown is what each backend has: an ETag, - for nothing, "out"; with "+m" for metadata m,
// "broken" content, "folded" names, "lossy:m" for what it does not keep, "!m" for what it
// was given in this run and has not kept.
type row struct {
	about, known, shown, want string
}

var rows = []row{
	{"all have it", "PUT v1 (A)", "v1 / v1", "equal"},
	{"one is behind", "PUT v1 (A)", "v1 / v0", "copy A to B"},
	{"one lacks it", "PUT v1 (B)", "- / v1", "copy B to A"},
	{"behind, another one is out that owes nothing", "PUT v1 (A C)", "v1 / v0 / out", "copy A to B"},
	{"equal, another one is out that owes nothing", "PUT v1 (A C)", "v1 / v1 / out", "equal"},
	{"equal, another one is out that owes it", "PUT v1 (A B)", "v1 / v1 / out", "wait"},
	{"who has it is out", "PUT v1 (A)", "out / v0", "wait"},
	{"who has it is out, two others have the same old one", "PUT v1 (A)", "out / v0 / v0", "wait"},
	{"who has it is out, the other one shows the same bytes, perhaps with other metadata", "PUT v1 (A)", "out / v1", "wait"},
	{"who has it is out, one of two that lack it shows the same bytes", "PUT v1 (A)", "out / v1 / v0", "wait"},
	{"a majority has something else", "PUT v1 (A)", "v1 / v0 / v0", "copy A to B C"},
	{"put while repair was at it, and one shows what was before", "PUT v1 (A B) beside repair", "v0 / v1", "copy B to A"},
	{"… and both do: they were restored", "PUT v1 (A B) beside repair", "v0 / v0", "park: conflict"},
	{"each answered with an ETag of its own", "PUT v1 (A B=w1)", "v1 / w1 / v0", "copy A to C"},
	{"the ETag is not known: who took it has it", "PUT * (A)", "v9 / v0", "copy A to B"},
	{"the same bytes, other metadata", "PUT v1 (A)", "v1+new / v1+old", "copy A to B"},
	{"nobody has it any more (9)", "PUT v1 (A)", "- / v0", "park: lost"},
	{"nobody has it any more, the other one lacks it too", "PUT v1 (A)", "- / -", "park: lost"},
	{"nobody has it any more by its ETag, where the other one may have it under its own", "PUT v1 (A) with own ETags", "- / w1", "park: conflict"},
	{"changed past the proxy", "PUT v1 (A)", "v7 / v0", "park: conflict"},
	{"restored from an older copy", "PUT v1 (A)", "v0 / v0", "park: conflict"},
	{"changed past the proxy where it was taken", "PUT v1 (A B)", "v1 / v7", "park: conflict"},
	{"deleted past the proxy where it was taken", "PUT v1 (A B)", "v1 / -", "park: conflict"},
	{"deleted past the proxy, and one is behind: that first", "PUT v1 (A C)", "v1 / v0 / -", "copy A to B"},
	{"came back with an empty disk, the other one has it late", "PUT v1 (A)", "- / v1", "park: conflict"},
	{"only the first bytes of it are there (20)", "PUT v1 (A B)", "v1 / v1#0", "copy A to B"},
	{"only the first bytes, also after a copy", "PUT v1 (A B)", "v1 / v1#0!content", "park: not kept"},
	{"content is not what its ETag says (13)", "PUT v1 (A)", "v1 broken / v0", "park: damaged"},
	{"… and another one is whole", "PUT v1 (A B)", "v1 broken / v1 / v0", "copy B to A C"},
	{"another key's object is there under its name (21)", "PUT v1 (A)", "v1 / v7 folded", "park: conflict"},
	{"what it was given it has not kept", "PUT v1 (A)", "v1+tags / v1!tags", "park: not kept"},
	{"it has the content, and is known not to keep the rest", "PUT v1 (A)", "v1+tags / v1 lossy:tags", "park: not kept"},
	{"who took it is known not to keep what the other one has (5)", "PUT v1 (A)", "v1 lossy:tags / v1+tags", "park: not kept"},
	{"two took it, one of which keeps less: the other is the source", "PUT v1 (A C)", "v1 lossy:tags / v0 / v1+tags", "copy C to B"},
	{"of unknown outcome where more of what it brought is to be seen than where it was taken", "PUT v1 (A) with tags", "v1 / v1+Tags", "park: not kept"},
	{"… and a third one is behind", "PUT v1 (A) with tags", "v1 / v1+Tags / v0", "copy B to C"},
	{"it brought no tags: those on the other one are older", "PUT v1 (A) with metadata", "v1 / v1+Tags", "copy A to B"},
	{"it brought other tags than the other one has", "PUT v1 (A) with tags", "v1+Tags / v1+Cache", "copy A to B"},
	{"two took it, one of which shows less: the other is the source", "PUT v1 (A C)", "v1 / v0 / v1+tags", "copy C to B"},
	{"two took it, one of which shows less, and nobody is behind", "PUT v1 (A B)", "v1 / v1+tags", "park: not kept"},
	{"two took it, and each has not kept what the other one has", "PUT v1 (A B) with tags and metadata", "v1+Tags / v1+Cache", "park: not kept"},
	{"… but it had not brought all of that", "PUT v1 (A B) with tags", "v1+Tags / v1+Cache", "park: conflict"},

	{"who took it has not kept its tags, and nobody has them: the content first", "PUT v1 (A) with tags", "v1 / v0", "copy A to B"},
	{"… which all have now", "PUT v1 (A) with tags", "v1 / v1", "park: not kept"},
	{"so it is with metadata", "PUT v1 (A) with metadata", "v1+Tags / v1+Tags", "park: not kept"},
	{"another one that took it is out, and may have it", "PUT v1 (A C) with tags", "v1 / v1 / out", "wait"},
	{"a delete of unknown outcome, and who has not deleted has not kept the metadata", "PUT v1 (A B) with metadata | DELETE ?", "v1 / -", "copy A to B"},
	{"… after which all have what is left", "PUT v1 (A B) with metadata | DELETE ?", "v1 / v1", "park: not kept"},
	{"two at the same time with the same bytes: of who took the newer one is its metadata", "PUT v1 (B) | PUT v1 (A B)", "v1+old / v1+new", "copy B to A"},
	{"two at the same time with the same bytes, of which one had no metadata: all have that one", "PUT v1 (A B) with metadata | PUT v1 (A B)", "v1 / v1", "equal"},
	{"… and neither has been kept whole", "PUT v1 (A B) with metadata | PUT v1 (A B) with metadata", "v1 / v1", "park: not kept"},
	{"deleted", "DELETE (A)", "- / v0", "delete from B"},
	{"deleted everywhere", "DELETE (A)", "- / -", "equal"},
	{"deleted, by DeleteObjects after a PUT (1)", "DELETE (A)", "- / v0", "delete from B"},
	{"deleted, whatever another one shows (19)", "DELETE (A)", "v0 / v0", "delete from B"},
	{"deleted, and made again past the proxy", "DELETE (A)", "v7 / -", "park: conflict"},
	{"deleted, who has done so is out", "DELETE (A)", "out / v0", "delete from B"},
	{"deleted, another one is out that owes it", "DELETE (A)", "- / - / out", "wait"},
	{"deleted, and what is there is another key's", "DELETE (A)", "- / v7 folded", "equal"},
	{"a delete that did not stick", "DELETE (A)", "- / v0!delete", "park: not kept"},

	{"two at the same time, each on one", "PUT v1 (A) | PUT v2 (B)", "v1 / v2", "copy A to B"},
	{"two at the same time, all have the one", "PUT v1 (A) | PUT v2 (B)", "v2 / v2", "equal"},
	{"two at the same time, all have the one, and one shows less of it", "PUT v1 (A B) | PUT v2 (A B)", "v1 / v1+tags", "copy B to A"},
	{"two at the same time, only one is left (8)", "PUT v1 (A) | PUT v2 (B)", "- / v2", "copy B to A"},
	{"two at the same time, nobody has either", "PUT v1 (A) | PUT v2 (B)", "- / -", "park: lost"},
	{"two at the same time, and both backends were restored", "PUT v1 (A B) | PUT v2 (A B)", "v0 / v0", "park: lost"},
	{"… where not all that were under way are known: what is there may be one of them", "PUT v1 (A B) | PUT v2 (A B) beside others", "v7 / v7", "equal"},
	{"at the same time as one that is not known", "PUT v1 (A B) beside others", "v7 / v1", "copy B to A"},
	{"… and it landed last on both", "PUT v1 (A B) beside others", "v7 / v7", "equal"},
	{"two at the same time, one backend is out", "PUT v1 (A) | PUT v2 (B)", "v1 / out", "wait"},
	{"a delete at the same time: the last copy stays", "DELETE (A) | PUT v2 (B)", "- / v2", "copy B to A"},
	{"a delete at the same time, none is left", "DELETE (A) | PUT v2 (B)", "- / -", "equal"},
	{"a delete at the same time landed last where both were taken", "PUT v1 (A) | DELETE (A)", "- / v0", "delete from B"},
	{"the one before it was late where it was taken, too", "PUT v2 (A C) after PUT v1 (A B C)", "v2 / v0 / v1", "copy A to B C"},
	{"the one before it was late, and all else is well", "PUT v2 (A B) after PUT v1 (A B)", "v2 / v1", "copy A to B"},
	{"the delete before it was late", "PUT v2 (A B) after DELETE (A B)", "v2 / -", "copy A to B"},
	{"the one before a delete was late", "DELETE (A B) after PUT v1 (A B)", "- / v1", "delete from B"},
	{"the one before it was late, and all have that", "PUT v2 (B) after PUT v1 (A B)", "v1 / v1", "park: lost"},
	{"one was before it, and what is there is of neither", "PUT v2 (A B) after PUT v1 (A B)", "v2 / v7", "park: conflict"},

	{"of unknown outcome, and it came to pass nowhere", "PUT v1 (A) | PUT v2?", "v1 / v0", "copy A to B"},
	{"of unknown outcome, and it came to pass on one", "PUT v1 (A) | PUT v2?", "v2 / v1", "copy A to B"},
	{"… and it came to pass where what stands came late", "PUT v1 (A) | PUT v2?", "v1 / v2", "copy A to B"},
	{"… and it came to pass on one of those that took what stands", "PUT v1 (A B) | PUT v2?", "v2 / v1", "copy B to A"},
	{"of unknown outcome, its ETag is not known, and what stands came late where it was owed", "PUT v1 (A) | PUT ?", "v2 / v1", "copy A to B"},
	{"a delete of unknown outcome, and what stands came late where it was owed", "PUT v1 (A) | DELETE ?", "- / v1", "delete from B"},
	{"of unknown outcome, and only who decides a condition may have it: others are asked", "PUT v1 (A B) | PUT ? (A)", "v2 / v1", "copy B to A"},
	{"… and nothing acknowledged is known", "PUT ? (A)", "v2 / v1", "copy B to A"},
	{"… and another one has decided since: that is asked", "PUT ? (A) | PUT ? (B)", "v2 / v3", "copy B to A"},
	{"… a delete, which came to pass", "PUT ? (A) | DELETE ? (B)", "v1 / -", "delete from A"},
	{"… a delete, which did not", "PUT ? (A) | DELETE ? (B)", "v1 / v2", "copy B to A"},
	{"… and who has decided alone took what stands, too, which came late elsewhere", "PUT v1 (A) | PUT ? (A)", "v2 / v1", "copy A to B"},
	{"a delete of unknown outcome that came to pass on one of those that took what stands", "PUT v1 (A B) | DELETE ?", "- / v1", "copy B to A"},
	{"of unknown outcome, and it came to pass everywhere", "PUT v1 (A) | PUT v2?", "v2 / v2", "equal"},
	{"of unknown outcome, its ETag is not known, and it came to pass where the last one was taken", "PUT v1 (A) | PUT ?", "v2 / v0", "copy A to B"},
	{"of unknown outcome, its ETag is not known, and the other one is behind", "PUT v1 (A) | PUT ?", "- / v0", "park: lost"},
	{"a delete of unknown outcome, and it came to pass where the last one was taken", "PUT v1 (A) | DELETE ?", "- / v0", "delete from B"},
	{"of unknown outcome, its ETag is not known, and nobody has what stood", "PUT v1 (A) | PUT ?", "v2 / v2", "equal"},
	{"a PUT of unknown outcome behind a delete, and it came to pass", "DELETE (A) | PUT v2?", "v2 / v0", "copy A to B"},
	{"nothing acknowledged is known, they differ", "PUT ?", "v2 / v1", "copy A to B"},
	{"nothing acknowledged is known, and one shows less of the same", "PUT ?", "v1 / v1+Cache", "copy B to A"},
	{"… which is the one that has it surely not", "PUT ? (B)", "v1 / v1+Cache", "copy B to A"},
	{"… but a type alone may be a guess", "PUT ? (B)", "v1 / v1+Content-Type", "copy A to B"},
	{"nothing acknowledged is known, one has none", "PUT ?", "- / v1", "copy B to A"},
	{"nothing acknowledged is known, a delete of unknown outcome", "DELETE ?", "- / v1", "copy B to A"},
	{"nothing acknowledged is known, none has it", "PUT ?", "- / -", "equal"},

	{"verify found it missing, and it may be copied", "found (B)", "v1 / -", "copy A to B"},
	{"verify found it missing, and it may have been deleted", "found (A B)", "v1 / -", "park: conflict"},
	{"verify found them to differ (5, 14)", "found (A B)", "v1 / v2", "park: conflict"},
	{"verify found metadata to differ", "found (A B)", "v1+a / v1+b", "park: conflict"},
	{"verify found it damaged, another one is whole (13)", "found (B)", "v1 / v1 broken", "copy A to B"},
	{"verify found it damaged everywhere", "found (A B)", "v1 broken / v1 broken", "park: damaged"},
	{"verify found a difference that is gone", "found (A B)", "v1 / v1", "equal"},
	{"verify found a difference, one is out", "found (B)", "v1 / out", "wait"},
}

func names(set []int) string {
	var s []string
	for _, i := range set {
		s = append(s, string(rune('A'+i)))
	}
	return strings.Join(s, " ")
}

func (p plan) String() string {
	switch {
	case p.park != "":
		return "park: " + string(p.park)
	case p.action == actCopy:
		return "copy " + names([]int{p.source}) + " to " + names(p.targets)
	case p.action == actDelete:
		return "delete from " + names(p.targets)
	case p.wait:
		return "wait"
	}
	return "equal"
}

func parseRow(t *testing.T, r *row) (*knowledge, []view) {
	t.Helper()
	var views []view
	for _, text := range strings.Split(r.shown, " / ") {
		var v view
		words := strings.Fields(text)
		for _, w := range words[1:] {
			what, name, _ := strings.Cut(w, ":")
			switch what {
			case "broken":
				v.damaged = true
			case "folded":
				v.folded = true
			case "lossy":
				v.lossy = func(n string) bool { return n == name }
			default:
				t.Fatalf("what is %q?", w)
			}
		}
		word, refused, _ := strings.Cut(words[0], "!")
		v.refused = refused
		switch word {
		case "out":
		case "-":
			v.is = absent
		default:
			word, meta, _ := strings.Cut(word, "+")
			word, size, cut := strings.Cut(word, "#")
			v.is, v.etag, v.size = present, word, 7
			if cut {
				n, _ := strconv.Atoi(size)
				v.size, v.damaged = int64(n), true
			}
			if meta != "" {
				v.meta = meta + ":" + meta + "\n"
			}
		}
		views = append(views, v)
	}
	all := uint64(1)<<len(views) - 1
	k := &knowledge{}
	known, past, _ := strings.Cut(r.known, " after ")
	known, repairing := strings.CutSuffix(known, " beside repair")
	known, k.crowded = strings.CutSuffix(known, " beside others")
	k.mixed = k.crowded && !strings.Contains(known, " | ")
	k.blur = k.mixed
	if past != "" {
		before, _ := parseRow(t, &row{known: past, shown: r.shown})
		k.past = append(k.past, *before.stands)
	}
	for n, text := range strings.Split(known, " | ") {
		c := claim{seq: uint64(n + 1), acked: true}
		text, by, _ := strings.Cut(text, " (")
		by, brought, _ := strings.Cut(by, ") with ")
		k.own = k.own || brought == "own ETags"
		c.carried = map[string]task.Carried{"tags": task.CarriedTags, "metadata": task.CarriedMetadata, "tags and metadata": task.CarriedTags | task.CarriedMetadata}[brought]
		for _, w := range strings.Fields(strings.TrimSuffix(by, ")")) {
			i := int(w[0] - 'A')
			c.took |= 1 << i
			if _, etag, own := strings.Cut(w, "="); own {
				c.etags = make([]string, len(views))
				c.etags[i] = etag
			}
		}
		c.owed, c.said = all&^c.took, c.took
		verb, etag, _ := strings.Cut(text, " ")
		if name, unknown := strings.CutSuffix(etag, "?"); unknown {
			if c.took == 0 {
				c.took = all
			}
			c.acked, c.said, c.took, c.owed, etag = false, 0, 0, c.took, name
		}
		if etag == "*" {
			etag = ""
		}
		if repairing {
			c.owed, c.took = all, 0
		}
		c.etag, c.del = etag, verb == "DELETE"
		switch {
		case verb == "found":
			c.took, c.owed, c.said = 0, c.took, 0
			k.found = &c
		case n == 0 && c.acked:
			if k.crowded || strings.Contains(r.known, " | ") && !strings.Contains(r.known, "?") {
				c.overlapped, c.owed = true, all // any may have landed last
			}
			k.stands = &c
		default:
			if c.acked {
				c.owed = all
			}
			k.rivals = append(k.rivals, c)
		}
	}
	return k, views
}

// R35: the table of the plan, which docs/REPAIR.md shows.
func TestR35Plan(t *testing.T) {
	for i := range rows {
		r := &rows[i]
		k, views := parseRow(t, r)
		got := planContent(k, views, policy{prefer: -1}).String()
		if got != r.want {
			t.Errorf("%s: known %q, shown %q: got %q, want %q", r.about, r.known, r.shown, got, r.want)
		}
	}
}

func table() string {
	var b strings.Builder
	b.WriteString("| What happened | Known | A / B / C show | What is done |\n|---|---|---|---|\n")
	for i := range rows {
		r := &rows[i]
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.about, strings.ReplaceAll(r.known, "|", "; meanwhile "), r.shown, r.want)
	}
	return b.String()
}

// The document's table is this test's.
func TestR35PlanIsDocumented(t *testing.T) {
	const begin, end = "<!-- the plan's table: go test ./synclog/repair -run Documented -update -->\n", "<!-- end of the table -->"
	path := "../../docs/REPAIR.md"
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(doc), begin)
	shown, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", path)
	}
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+table()+end+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if shown != table() {
		t.Errorf("the table of %s is not the one that is tested: go test ./synclog/repair -run Documented -update", path)
	}
}

// R35: whatever is shown, doing what the plan says comes to an end, never takes from a
// backend that has not what was acknowledged, and deletes for an acknowledged delete alone.
func TestR35PlanConverges(t *testing.T) {
	words := []string{"out", "-", "v0", "v1", "v2", "v1+m", "v1 broken", "v2 folded"}
	known := []string{
		"PUT v1 (A)", "PUT v1 (A B)", "PUT v1 (B C)", "PUT * (A)", "DELETE (A)", "DELETE (A B)", "PUT v1 (A) | PUT v2 (B)",
		"DELETE (A) | PUT v2 (B)", "PUT v1 (A) | PUT v2?", "PUT v1 (B) | DELETE ?", "PUT ?", "DELETE ?", "found (B)", "found (A B C)",
		"PUT v1 (A B) after PUT v2 (A B C)", "DELETE (A B) after PUT v2 (A B C)",
	}
	n := len(words)
	for i := range n * n * n {
		for _, what := range known {
			r := row{known: what, shown: words[i%n] + " / " + words[i/n%n] + " / " + words[i/n/n]}
			k, views := parseRow(t, &r)
			for round := 0; ; round++ {
				if round > 4 {
					t.Fatalf("%+v: it does not come to an end", r)
				}
				before := slices.Clone(views)
				p := planContent(k, views, policy{prefer: -1})
				if p.action == actNothing {
					if p.park == "" && !p.wait {
						mustAllBeRight(t, &r, k, views)
					}
					break
				}
				for _, target := range p.targets {
					switch {
					case views[target].is == unknown || views[target].folded:
						t.Fatalf("%+v: %s to what cannot be seen", r, p)
					case p.action == actDelete && !mayDelete(k, before):
						t.Fatalf("%+v: %s without an acknowledged delete", r, p)
					case p.action == actDelete:
						views[target] = view{is: absent}
					case before[p.source].is != present || before[p.source].damaged || before[p.source].folded:
						t.Fatalf("%+v: %s from what is not whole", r, p)
					default:
						views[target] = before[p.source]
					}
				}
			}
		}
	}
}

// mayDelete: a delete was acknowledged, or one of unknown outcome has come to pass wherever
// what stands had been taken.
func mayDelete(k *knowledge, views []view) bool {
	came := k.stands.said != 0
	for i := range views {
		came = came && (!has(k.stands.said, i) || views[i].is == absent)
	}
	return slices.ContainsFunc(append([]claim{*k.stands}, k.rivals...), func(c claim) bool { return c.del && (c.acked || came) })
}

// mustAllBeRight: what is closed as equal is the same everywhere, and was acknowledged.
func mustAllBeRight(t *testing.T, r *row, k *knowledge, views []view) {
	t.Helper()
	for i := range views {
		v := &views[i]
		if v.is == unknown {
			continue
		}
		for j := range views {
			if o := &views[j]; o.is != unknown && !v.same(o) && !(v.folded && o.is == absent || o.folded && v.is == absent || v.folded && o.folded) {
				t.Fatalf("%+v: closed, and %d and %d differ", *r, i, j)
			}
		}
		if k.stands == nil {
			continue
		}
		right := k.stands.shownBy(i, v) || k.stands.etag == "" && !k.stands.del && v.is == present
		for j := range k.rivals {
			right = right || k.rivals[j].shownBy(i, v) || k.rivals[j].etag == ""
		}
		if !right {
			t.Fatalf("%+v: closed, and %d shows what was not acknowledged", *r, i)
		}
	}
}

// R35: who wants the old way gets it for conflicts alone.
func TestR35OnConflict(t *testing.T) {
	newest, a, b := policy{newest: true, prefer: -1}, policy{prefer: 0}, policy{prefer: 1}
	for _, c := range []struct {
		known, shown string
		p            policy
		want         string
	}{
		{"PUT v1 (A B)", "v1 / v7", newest, "copy B to A"}, // B's is younger
		{"PUT v1 (A B)", "v1 / v7", a, "copy A to B"},
		{"PUT v1 (A B)", "v1 / v7", b, "copy B to A"},
		{"PUT v1 (A B)", "v1 / -", newest, "copy A to B"},
		{"PUT v1 (A B)", "v1 / -", b, "delete from A"},
		{"found (A B)", "v1 / v2", newest, "copy B to A"},
		{"found (A B)", "v1 / v2", a, "copy A to B"},
		{"PUT v1 (A)", "- / v0", newest, "park: lost"},
		{"PUT v1 (A) with own ETags", "- / w1", newest, "copy B to A"},
		{"PUT v1 (A) with own ETags", "- / w1", b, "copy B to A"},
		{"PUT v1 (A) with own ETags", "- / w1", a, "park: conflict"}, // it may be the last one
		{"PUT v1 (A)", "v1 broken / v0", b, "park: damaged"},
		{"PUT v1 (A)", "v1 / v0", b, "copy A to B"},
		{"PUT v1 (A B)", "v1 / out", b, "equal"},
	} {
		k, views := parseRow(t, &row{known: c.known, shown: c.shown})
		for i := range views {
			views[i].modified = time.Unix(int64(i), 0)
		}
		if got := planContent(k, views, c.p).String(); got != c.want {
			t.Errorf("%s, %s, %+v: got %q, want %q", c.known, c.shown, c.p, got, c.want)
		}
	}
}
