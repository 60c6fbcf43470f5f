package model

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// random makes a history up.
func random(seed uint64) (history []string) {
	r := rand.New(rand.NewPCG(seed, 0))
	g := &generator{Rand: r}
	if r.IntN(3) == 0 {
		manners := []string{"lossy", "folders", "folds", "guesses", "ahead", "behind", "dated", "unconditional", "etags"}
		history = append(history, "manners "+g.store()+" "+manners[r.IntN(len(manners))])
	}
	for range 4 + r.IntN(30) {
		if r.IntN(5) < 2 {
			history = append(history, g.trouble())
			continue
		}
		step := g.client()
		if r.IntN(6) == 0 {
			step = "& " + step
		}
		history = append(history, step)
	}
	return madeAgain(history, rand.New(rand.NewPCG(seed, 2)))
}

// madeAgain has some histories remove a bucket, and make it again.
func madeAgain(history []string, r *rand.Rand) []string {
	if r.IntN(4) > 0 {
		return history
	}
	bucket := []string{"b", "v"}[r.IntN(2)]
	at := 1 + r.IntN(len(history))
	return slices.Insert(history, at, "clear "+bucket, "remove "+bucket, "make "+bucket+[]string{"", " lock"}[r.IntN(2)])
}

// overlapping makes up a history of clients that write to one key at the same time, while one storage is out and any
// of them comes back as it was before (R19). The other one always takes what it gets: of a write of unknown outcome
// nobody could tell what it has left.
func overlapping(seed uint64) (history []string) {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 3))}
	key, out := []string{"b/k", "v/k"}[g.IntN(2)], g.store()
	if g.IntN(6) == 0 {
		history = append(history, "manners "+g.store()+" "+[]string{"etags", "behind", "unconditional"}[g.IntN(3)])
	}
	history = append(history, "put b/s 0", fmt.Sprintf("put %s 0", key), "wait 1s", "save A", "save B")
	for range 3 + g.IntN(10) {
		if g.IntN(2) == 0 {
			history = append(history, g.strike(out)...)
			continue
		}
		step := g.rewrite(key)
		if g.IntN(3) > 0 {
			step = "& " + step
		}
		history = append(history, step)
	}
	return history
}

// rewrite is a write to the content of one key.
func (g *generator) rewrite(key string) string {
	g.serial++
	switch g.IntN(7) {
	case 0:
		return "delete " + key
	case 1:
		return "deletes " + key
	case 2:
		return "copy " + key + " b/s"
	case 3:
		return fmt.Sprintf("multi %s %d", key, g.serial)
	}
	return fmt.Sprintf("put %s %d", key, g.serial)
}

// strike is what befalls storages and the proxy while they do so.
func (g *generator) strike(out string) []string {
	s := g.store()
	return [][]string{
		{"down " + out}, {"freeze " + out}, {"up " + out}, {"up " + out}, {"refuse " + out + " 503"}, {"refuse " + out + " 0"},
		{"restore " + s}, {"restore " + s}, {"wipe " + s}, {"save " + s}, {"wait 1s", "kill"}, {"wait 1s"}, {"wait 1m"},
	}[g.IntN(13)]
}

type generator struct {
	*rand.Rand
	serial int
}

func (g *generator) store() string { return []string{"A", "B"}[g.IntN(2)] }

func (g *generator) key() string {
	return []string{"b", "b", "v", "l"}[g.IntN(4)] + []string{"/k1", "/k2", "/k3.txt", "/u/", "/u/a", "/u//a"}[min(g.IntN(6), g.IntN(6))]
}

func (g *generator) client() string {
	key := g.key()
	g.serial++
	if g.IntN(40) == 0 {
		return []string{"make m", "make m lock", "remove m"}[g.IntN(3)]
	}
	locks := strings.HasPrefix(key, "l/")
	versions := !strings.HasPrefix(key, "b/")
	switch n := g.IntN(20); {
	case n < 6:
		return fmt.Sprintf("put %s %d%s", key, g.serial, g.extras(locks))
	case n < 7:
		return fmt.Sprintf("multi %s %d%s", key, g.serial, g.extras(locks))
	case n < 9:
		from := g.key()
		if from == key {
			return fmt.Sprintf("copy %s %s cache=%d", key, from, g.serial)
		}
		return "copy " + key + " " + from
	case n < 11:
		return "delete " + key
	case n < 13:
		other := key[:2] + g.key()[2:]
		if other == key {
			return "deletes " + key
		}
		return "deletes " + key + "," + other
	case n < 15 && versions:
		verb := []string{"delete-version", "deletes-version", "tag-version", "delete-null"}[g.IntN(4)]
		switch verb {
		case "tag-version":
			return fmt.Sprintf("%s %s %d %d", verb, key, g.IntN(3), g.serial)
		case "delete-null":
			return verb + " " + key
		}
		return fmt.Sprintf("%s %s %d", verb, key, g.IntN(3))
	case n < 17 && locks:
		if g.IntN(2) == 0 {
			return fmt.Sprintf("retain %s %d", key, 1+g.IntN(48))
		}
		return "hold " + key + " " + []string{"ON", "OFF"}[g.IntN(2)]
	case n < 18:
		return "acl " + key + " " + []string{"public-read", "private"}[g.IntN(2)]
	case n < 19:
		return "untag " + key
	}
	return fmt.Sprintf("tag %s %d", key, g.serial)
}

func (g *generator) extras(locks bool) (s string) {
	if g.IntN(3) == 0 {
		s += fmt.Sprintf(" tags=%d", g.serial)
	}
	if g.IntN(4) == 0 {
		s += fmt.Sprintf(" cache=%d", g.serial)
	}
	if g.IntN(6) == 0 {
		s += " acl=public-read"
	}
	if locks && g.IntN(3) == 0 {
		s += " hold"
	}
	if locks && g.IntN(3) == 0 {
		s += " retain=1"
	}
	return s
}

func (g *generator) trouble() string {
	s := g.store()
	switch n := g.IntN(30); {
	case n < 6:
		return "down " + s
	case n < 9:
		return "freeze " + s
	case n < 17:
		return "up " + s
	case n < 19:
		return "refuse " + s + " " + []string{"507", "403", "503"}[g.IntN(3)]
	case n < 22:
		return "refuse " + s + " 0"
	case n < 24:
		return []string{"wait 1s", "wait 1m", "wait 10m", "wait 3h", "verify"}[g.IntN(5)]
	case n < 27:
		return "kill"
	case n < 28:
		return "save " + s
	}
	return []string{"restore " + s, "wipe " + s, "rot " + s + " " + g.key()}[g.IntN(3)]
}

// shorten takes out whatever a history fails without.
func shorten(t *testing.T, history []string, wrong []found, seed uint64) ([]string, []found) {
	t.Helper()
	for size := len(history) / 2; size > 0; {
		shorter := false
		for at := 0; at+size <= len(history); {
			h := slices.Concat(history[:at], history[at+size:])
			if len(h) == 0 || history[0] == "without repair" && at == 0 {
				at += size
				continue
			}
			w := play(t, h, seed)
			if len(w) == 0 {
				w = play(t, h, seed+1) // it may have been luck
			}
			if len(w) > 0 {
				history, wrong, shorter = h, w, true
			} else {
				at += size
			}
		}
		if !shorter || size > 1 {
			size /= 2
		}
	}
	return history, wrong
}
