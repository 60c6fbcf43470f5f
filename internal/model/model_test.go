package model

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
)

var (
	seeds = flag.Int("seeds", 200, "histories that TestR35Random makes up")
	first = flag.Uint64("first", 1, "seed of the first one")
	alone = flag.String("history", "", "a history that TestR35Kept plays in place of those that are kept")
	most  = flag.Int("failures", 5, "histories that fail before TestR35Random stops")
)

// kept are histories that failed once: the inputs, and what random ones came to.
var kept = []struct{ name, history string }{
	{"a delete by DeleteObjects is a delete", "put b/k 0; wait 1s; down B; put b/k 1; deletes b/k; up B"},
	{"a purge of an old version after a delete", "put v/k 0; put v/k 1; wait 1s; down B; delete v/k; delete-version v/k 1; up B"},
	{"old versions deleted by id", "put v/k 0; put v/k 1; wait 1s; down B; deletes-version v/k 1; wait 1s; wipe B; up B"},
	{"the version null with a newer one", "put v/k 0; wait 1s; down B; put v/k 1; delete-null v/k; up B"},
	{"a backend that keeps no tags", "manners B lossy; put b/k 0 tags=1 cache=1; wait 1s; verify; wait 5m; wait 1s; verify; wait 5m"},
	{"a clock an hour ahead", "manners B ahead; put b/k 0; put b/d 0; wait 1s; down B; put b/k 1; delete b/d; up B"},
	{"a load balancer's clock", "manners B dated; put b/k 0; put b/d 0; wait 1s; down B; put b/k 1; delete b/d; up B"},
	{"a clock a day behind", "manners A behind; put b/k 0; put b/d 0; wait 1s; down B; put b/k 1; delete b/d; up B"},
	{"the current version is deleted for good", "put v/k 0; put v/k 1; wait 1s; down B; delete-version v/k 0; up B"},
	{"two overlapping PUTs, and who took both is restored", "put b/k 0; wait 1s; save B; down A; & put b/k 1; put b/k 2; restore B"},
	{"an overlapping PUT and copy, and who took both is restored", "put b/k 0; put b/s 1; wait 1s; save B; down A; & put b/k 1; copy b/k b/s; restore B"},
	{"an overlapping delete and PUT, and who took both is restored", "put b/k 0; wait 1s; save B; down A; & delete b/k; put b/k 2; restore B"},
	{"an overlapping PUT and delete, and who took both is restored", "put b/k 0; wait 1s; save B; down A; & put b/k 2; deletes b/k; restore B"},
	{"two overlapping PUTs, and both backends are restored", "put b/k 0; wait 1s; save A; save B; & put b/k 1; put b/k 2; restore A; restore B"},
	{"two overlapping PUTs, the proxy killed, and who took both is restored", "put b/k 0; wait 1s; save B; down A; & put b/k 1; put b/k 2; wait 1s; kill; restore B"},
	{"a delete behind PUTs that overlapped", "put v/k 1; & put v/k 2; put v/k 3; & deletes v/k; & deletes v/k; down A"},
	{"two overlapping PUTs, and an empty disk", "put b/k 0; & put b/k 1; & put b/k 2; wait 1s; wait 1s; wipe A; wait 5m"},
	{"the only one that took it loses it", "put b/k 0; wait 1s; down B; put b/k 1; wait 1s; wipe A; up B"},
	{"the same bytes with other tags", "put b/k 0 tags=1; wait 1s; down B; put b/k 0 tags=2; up B"},
	{"the same bytes with a hold", "put l/k 0; wait 1s; down B; put l/k 0 hold; up B"},
	{"tags after a PUT", "put b/k 0; wait 1s; down B; put b/k 1; tag b/k 1; up B"},
	{"tags, then a hold", "put l/k 0; wait 1s; down B; tag l/k 1; hold l/k ON; up B"},
	{"a bucket with locks made meanwhile", "down B; make m lock; up B"},
	{"an expired retention with a hold", "put l/k 0; wait 1s; down B; put l/k 1 retain=1 hold; wait 2h; up B"},
	{"a rotten source", "put b/k 0; wait 1s; down B; put b/k 1; wait 1s; rot A b/k; up B"},
	{"bit rot that verify finds", "put b/k 0; wait 1s; rot A b/k; wait 1s; verify; wait 5m"},
	{"507 for a while", "put b/k 0; wait 1s; refuse B 507; put b/k 1; wait 3h; refuse B 0"},
	{"403 for a while", "put b/k 0; wait 1s; refuse B 403; put b/k 1; wait 3h; refuse B 0"},
	{"the first hold of an object", "put l/k 0; wait 1s; down B; hold l/k ON; up B"},
	{"a copy of what a backend owes", "put b/s 0; wait 1s; down B; put b/s 1; up B; wait 1s; down A; copy b/k b/s; up A"},
	{"other metadata, late, after a PUT", "put b/k 0; & copy b/k b/k cache=1; & put b/k 1; freeze B; wait 1m; up B"},
	{"a delete of a directory", "manners B folders; put b/u/ 0; put b/u/a 0; wait 1s; down B; delete b/u/; up B"},
	{"a directory with content", "manners A folders; put b/x/ 0; wait 1s; verify; wait 5m"},
	{"names that are folded", "manners B folds; put b/a/b 0; put b/a//b 1; wait 1s; verify; wait 5m"},
	{"guessed types", "manners B guesses; put b/k.txt 0; wait 1s; down B; put b/k.txt 1; up B; wait 10m"},
	{"both frozen, and both took it late", "freeze B; put b/k 3 tags=3; wait 1m; freeze A; put b/k 1 cache=1"},
	{"a write to a version while its PUT is under way", "put v/k 1 cache=1; tag-version v/k 0 2"},
	{"an upload in parts", "put b/k 0; multi b/k 1 tags=1"},
	{"lost, after a delete whose last leg was late", "deletes b/k1,b/k2; down B; put b/k1 13 acl=public-read; wipe A"},
	{"a delete after a PUT whose last leg was late", "& deletes v/k1,v/u//a; put l/k1 2 acl=public-read; deletes b/u/a,b/k1; put b/k1 4 cache=4; down A; deletes b/k1"},
	{"deleted after a copy, and restored", "put l/k3.txt 9 tags=9 retain=1; copy b/k1 b/k3.txt; copy b/k1 l/k3.txt; down A; restore B; delete b/k1"},
	{"the version null, and an empty disk", "put v/k2 5; & deletes b/k1,b/k2; delete-null v/k2; wipe A"},
	{"the version null, and a restored one", "put v/k1 2; & delete-null v/k1; copy v/u/ v/k3.txt; restore B"},
	{"503 for a while, and one key alone", "refuse A 503; put b/u/a 4; wait 3h; put b/k2 3; wait 1h"},
	{"other metadata of the same bytes, and who took it is out", "put b/k 2 cache=2; wait 1s; refuse B 503; put b/k2 7; copy b/k b/k cache=8; down A; wait 1h"},
	{"a bucket that exists, and once more with locks", "down B; make m; freeze B; hold l/k2 OFF; make m lock"},
	{"a bucket with locks, and late without", "freeze B; & make m lock; acl l/u//a private; put b/k3.txt 8; make m"},
	{"a directory's marker in parts, with something below it", "manners A folders; down A; multi b/u/ 2; multi b/u//a 3 tags=3 cache=3"},
	{"a name that is folded over another one's last copy", "manners A folds; down B; put b/u//a 10 acl=public-read; put b/u/a 14"},
	{"of unknown outcome, where tags and Cache-Control are not kept", "manners A lossy; freeze A; freeze B; put v/u/ 4 tags=4 cache=4"},
	{"a locked version, deleted where nobody knows it", "put l/k1 3 tags=3 hold retain=1; & deletes-version l/k1 0"},
	{"a version deleted by DeleteObjects, and the proxy killed", "put v/k1 3; deletes-version v/k1 0; kill"},
	{"a version deleted while its PUT is under way, and the proxy killed", "& put v/k2 4 tags=4 cache=4; acl b/u/ public-read; deletes-version v/k2 0; kill"},
	{"a PUT after a delete, all well, and the proxy killed", "deletes l/k2,l/k1; acl b/k3.txt public-read; put l/k2 5 cache=5 retain=1; put v/u/ 7; kill"},
	{"an ACL whose only taker is restored", "put v/k3.txt 2; wait 1s; freeze A; put l/k1 8; acl v/k3.txt public-read; wait 1s; restore B"},
	{"two PUTs, and a backend that keeps no holds", "manners A lossy; put l/k3.txt 2 acl=public-read hold; put l/k3.txt 7 hold"},
	{"one behind, two PUTs, and a backend that keeps no holds", "manners A lossy; down B; put l/k3.txt 2 acl=public-read hold; up B; put l/k3.txt 7 hold"},
	{"a hold that who took it does not keep, and the proxy killed", "manners A lossy; & copy b/k1 v/k1; put b/u/a 4 tags=4; put l/u/a 5 hold; kill"},
	{"Cache-Control that who took it does not keep, and the proxy killed", "manners B lossy; put v/u/ 1 cache=1; kill"},
	{"tags that who took it does not keep, and the proxy killed", "manners B lossy; put l/k1 7 tags=7 acl=public-read; kill"},
	{"all of it, and the proxy killed", "manners A lossy; put l/k1 1 cache=1 retain=1; kill"},
	{"lost, while an ACL of unknown outcome was under way", "put b/k3.txt 8 tags=8 cache=8; & acl b/k3.txt private; kill; wipe B"},
	{"tags of the current version, by its id, behind a PUT", "freeze A; acl v/k2 private; & put v/k2 7; up A; multi l/u/a 10 tags=10 retain=1; tag-version v/k2 0 16"},
	{"tags of unknown outcome, and ETags of its own", "manners B etags; freeze B; put b/k2 6 tags=6; & tag b/k2 14; up B; kill"},
	{"who took it is wiped, and the other one has it under an ETag of its own", "manners A etags; put b/k2 3 tags=3; put b/u//a 5 tags=5; freeze B; acl b/k1 private; down B; wipe A"},
	{"Cache-Control that who took it does not keep, and a delete of unknown outcome", "manners A lossy; & put v/k2 6 cache=6; put l/k2 9 tags=9 hold; delete b/k3.txt; freeze B; freeze A; deletes v/k3.txt,v/k2"},
	{"other metadata, while a leg of its PUT is out", "put b/k1 1 tags=1 cache=1; put b/k1 2; put b/k1 3 tags=3 cache=3; copy b/k1 b/k1 cache=5"},
	{"a guessed type, beside a repair", "manners B guesses; multi b/k3.txt 3; & put b/k3.txt 5 acl=public-read"},
	{"a copy of tags that a backend owes", "put b/s 0 tags=3; wait 1s; refuse B 503; tag b/s 1; refuse B 0; down A; copy b/k b/s; up A"},
	{"tags that were taken away, where who did so is restored", "multi v/k1 1 tags=1; save A; untag v/k1; restore A"},
	{"lost, and not by a delete of its tags that was under way at a kill", "put l/k2 4 acl=public-read; & untag l/k2; kill; wipe B"},
	{"a copy of what has rotted where nobody else has it", "freeze A; multi b/k1 4 cache=4; rot B b/k1; copy v/k3.txt b/k1"},
	{"who took it is wiped, and the other one has what nobody was told of", "freeze A; put b/k3.txt 3; down B; put b/k3.txt 11; down A; wipe B"},
	{"a bucket with versions, removed and made again", "put v/k 0; wait 1s; put v/k 1; put v/l 2; wait 1s; down B; clear v; wait 1s; remove v; make v; put v/k 3; up B"},
	{"a bucket that is made again, and is empty", "put b/k 0; put b/l 1; wait 1s; down B; clear b; remove b; make b; up B"},
	{"a bucket that is made again with other keys", "put b/k 0; wait 1s; down B; clear b; remove b; make b lock; put b/k 1; put b/l 2; up B; wait 1m; put b/m 3"},
	{"a bucket that is made again, and the proxy killed", "put v/k 0; wait 1s; down B; clear v; remove v; kill; make v; kill; put v/k 3; up B; kill"},
	{"a bucket that is made again while its removal hangs", "put v/k 0; wait 1s; freeze B; clear v; remove v; make v; put v/k 3; wait 1m; up B"},
	{"a bucket that is made again, and removed", "put v/k 0; wait 1s; down B; clear v; remove v; make v; put v/k 3; clear v; remove v; up B"},
	{"a bucket that is made again, and again", "put v/k 0; wait 1s; down B; clear v; remove v; make v; put v/k 3; clear v; remove v; make v; put v/l 4; up B"},
	{"who took it while repair was at the key is restored", "put b/k3.txt 1; save B; freeze A; wait 1s; multi b/k3.txt 11 tags=11; restore B"},
	{"who deleted it while repair was at the key is restored", "freeze A; put b/k 1; save B; wait 11s; delete b/k; restore B"},
	{"a copy of nothing, of unknown outcome, onto what a backend does not keep whole", "manners A lossy; & put b/k3.txt 1 cache=1; refuse A 507; deletes v/k3.txt,v/u//a; copy b/k3.txt b/k2"},
	{"… and shorter", "manners A lossy; put b/k 1 cache=1; wait 1s; refuse A 507; copy b/k b/none"},
	{"… onto what is kept whole where the copy is refused", "manners A lossy; put b/k 1 cache=1 tags=1; wait 1s; refuse B 507; copy b/k b/none"},
	{"a version deleted where its PUT was late", "put v/k3.txt 4 tags=4; freeze A; put v/k3.txt 7; down B; make m; up A; delete-version v/k3.txt 0"},
	{"a version deleted by the id of who is not behind, and the proxy killed before", "put v/k3.txt 4 tags=4; kill; freeze A; put v/k3.txt 7 acl=public-read; down B; make m; up A; up B; delete-version v/k3.txt 0"},
	{"a delete beside a copy that only one can take", "put b/s 2; wait 1s; restore B" + times(24, "; & deletes l/%d; copy l/%[1]d b/s")},
	{"a hold that who took it does not keep, over one that is kept", "manners B lossy; put b/k3.txt 2 cache=2; put l/k1 4 acl=public-read hold; freeze A; put l/k1 5 acl=public-read hold"},
	{"a hold that is wiped where alone it was kept", "manners B lossy; down A; delete l/u/; up A; put l/u/ 4 hold; acl l/k2 public-read; wipe A"},
	{"tags that are wiped where alone they were kept, under a copy of nothing", "manners B lossy; put v/k3.txt 4 tags=4; put v/k2 5 tags=5; & copy v/k3.txt b/k3.txt; restore A"},
	{"a late write to a name that is folded over another one's last copy", "manners B folds; put b/u//a 4 cache=4; freeze A; freeze B; delete-null l/u/; put b/k3.txt 16; put b/u/a 17 tags=17"},
	{"a copy of what has rotted on one, and ETags of its own", "manners A etags; put b/k3.txt 7; wait 1s; rot B b/k3.txt; copy v/k3.txt b/k3.txt"},
	{"a bucket that is made where it was wiped", "wipe A; make v"},
	{"a bucket that is removed where it is empty since it was restored", "put v/k3.txt 1 cache=1; restore A; remove v"},
	{"a guessed type of what both took, after an ACL of unknown outcome", "manners A guesses; freeze B; acl b/k3.txt public-read; put b/k3.txt 12 cache=12; up B"},
	{"tags that a client takes away beside the PUT that brings them", "& untag b/k1; put b/k1 5 tags=5 cache=5"},
	{"a hold that is owed to a bucket that has been made again without locks", "manners B lossy; down B; put l/k1 2 acl=public-read; hold l/k1 ON; wipe B"},
	{"a bucket that is removed where one backend alone has a delete marker", "deletes v/u/,v/k3.txt; kill; wait 10m; remove v"},
	{"a bucket that is made again, and wiped, while its removal hangs", "freeze A; remove b; make b; wipe B"},
	{"a bucket that came back where its removal was decided", "down A; put v/k3.txt 2; save B; clear v; remove v; restore B"},
	{"a bucket with locks, and without, where who has them hangs", "delete b/k3.txt; make m lock; freeze B; copy v/k2 l/k2; deletes v/k2,v/k1; make m; up B; kill; acl b/k3.txt private; freeze A"},
	{"a bucket with locks, and without where repair is about to make it", "make m lock; kill; make m"},
	{"a copy beside a copy of its source onto itself", "put b/k1 6 cache=6; & copy b/k1 b/k1 cache=7; copy b/u/ b/k1"},
	{"a bucket with versions that is wiped, and made again for a key of it", "down B; put v/k1 1; wipe B"},
	{"more legs behind each other than end within a minute", "without repair; put b/k 0; delete b/k; freeze A; put b/k 5; put b/k 6; delete b/k; put b/k 8; put b/k 9; deletes b/k"},
	{"an ACL beside a PUT of its object, which one backend has first", "wait 1s" + times(24, "; & acl b/%d public-read; put b/%[1]d 3")},
	{"a copy of what is written meanwhile", times(6, "& copy b/%d v/k; ") + "& put v/k 11; put b/k 12; freeze B; put v/k 13"},
	{"a bucket with versions that comes late, without, to an empty disk", "freeze B; tag b/k3.txt 3; make v; wipe B"},
	{"a bucket that is removed where one backend folds the name of what the other one has", "manners A folds; put v/u//a 6; clear v; remove v"},
	{"a hold whose only taker is restored", "put l/k 0; wait 1s; save A; down B; hold l/k ON; restore A; up B"},
	{"a retention whose only taker is restored, over one that is older", "put l/k 0; save A; retain l/k 5; wait 1s; down B; retain l/k 9; restore A; up B"},
	{"a hold that was lifted where one backend is out", "put l/k 0; hold l/k ON; wait 1s; down B; hold l/k OFF; up B"},
	{"a hold on who keeps none, where the other one has an older one", "manners A lossy; put l/k 0; hold l/k ON; wait 1s; down B; hold l/k ON; up B"},
	{"a copy of tags that a backend owes, beside one that hangs", "put b/s 0; wait 1s; down B; tag b/s 1; freeze A; up B; copy b/k b/s; up A"},
}

// times is a step on so many keys: one alone comes to the order that is looked for too seldom.
func times(n int, step string) (all string) {
	for i := range n {
		all += fmt.Sprintf(step, i+1)
	}
	return all
}

// TestR35Kept plays the histories that failed once.
func TestR35Kept(t *testing.T) {
	if *alone != "" {
		kept = append(kept[:0], struct{ name, history string }{"alone", *alone})
	}
	for _, k := range kept {
		t.Run(strings.ReplaceAll(k.name, " ", "_"), func(t *testing.T) {
			for seed := range uint64(8) {
				if wrong := play(t, steps(k.history), seed); len(wrong) > 0 {
					t.Fatalf("%safter:\n%s", list(wrong), k.history)
				}
			}
		})
	}
}

// TestR35Random plays histories made up from seeds. One that fails is made short.
func TestR35Random(t *testing.T) { playRandom(t, random) }

// TestR35Overlapping does so with clients that are all at one key.
func TestR35Overlapping(t *testing.T) { playRandom(t, overlapping) }

// TestR20Random does so without repair: what a backend lacks it owes.
func TestR20Random(t *testing.T) { playRandom(t, random, "without repair") }

func playRandom(t *testing.T, made func(seed uint64) []string, begin ...string) {
	t.Helper()
	failed := 0
	for seed := *first; seed < *first+uint64(*seeds); seed++ {
		history := slices.Concat(begin, made(seed))
		wrong := play(t, history, seed)
		if len(wrong) == 0 {
			continue
		}
		history, wrong = shorten(t, history, wrong, seed)
		t.Errorf("seed %d: %safter:\n%s", seed, list(wrong), strings.Join(history, "; "))
		if failed++; failed == *most {
			t.Fatal("that is enough")
		}
	}
}

func list(wrong []found) string {
	var b strings.Builder
	for _, f := range wrong {
		fmt.Fprintf(&b, "%s %s\n", f.key, f.what)
	}
	return b.String()
}
