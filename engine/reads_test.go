package engine

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/engine/pick"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
)

// allowStale and reading are setups.
func allowStale(o *Options, _ *limiter.Options) { o.StaleReads = StaleAllow }

func reading(policy string, weights ...int) setup {
	return func(o *Options, _ *limiter.Options) {
		o.ReadPolicy = policy
		if len(weights) > 0 {
			o.ReadFrom = weights
		}
	}
}

// R30: who is asked, and in which order.
func TestR30Route(t *testing.T) {
	t.Parallel()
	fresh := func(backend int) answerer { return answerer{backend: backend, weight: 1, rank: uint64(100 - backend)} }
	behind := func(backend int) answerer {
		a := fresh(backend)
		a.owes = 1
		return a
	}
	owing := func(backend, n int) answerer {
		a := fresh(backend)
		a.owes = n
		return a
	}
	late := func(backend, n int) answerer {
		a := owing(backend, n)
		a.late = true
		return a
	}
	weighs := func(backend, n int) answerer {
		a := fresh(backend)
		a.weight = n
		return a
	}
	takes := func(backend int, latency int64) answerer {
		a := fresh(backend)
		a.latency = latency
		return a
	}
	for _, tt := range []struct {
		name    string
		policy  string
		allow   bool
		listing bool
		list    []answerer
		want    string // asked at once | then
		fresh   int
	}{
		{"all: each one at once", ReadAll, false, false, []answerer{fresh(0), fresh(1), fresh(2)}, "0 1 2|", 3},
		{"all: but for who owes the key", ReadAll, false, false, []answerer{fresh(0), behind(1), fresh(2)}, "0 2|", 2},
		{"all: only such ones are left", ReadAll, false, false, []answerer{behind(0), behind(1)}, "|", 0},
		{"all, allow: they come last", ReadAll, true, false, []answerer{behind(0), fresh(1)}, "1|0", 1},
		{"all, allow: only they are left", ReadAll, true, false, []answerer{behind(0), behind(1)}, "0|1", 0},
		{"all: a listing by who owes nothing", ReadAll, false, true, []answerer{owing(0, 2), fresh(1), owing(2, 1), fresh(3)}, "1 3|2 0", 4},
		{"all: a listing by who owes least", ReadAll, false, true, []answerer{owing(0, 2), owing(1, 1), owing(2, 1)}, "1|2 0", 3},
		{"all: a listing by who is not late", ReadAll, false, true, []answerer{late(0, 0), fresh(1), owing(2, 1), fresh(3)}, "1 3|0 2", 4},
		{"all: a listing by one alone where all are late", ReadAll, false, true, []answerer{late(0, 0), late(1, 0)}, "0|1", 2},
		{"all: a listing by who owes least, and is not late", ReadAll, false, true, []answerer{late(0, 1), owing(1, 1), owing(2, 2)}, "1|0 2", 3},
		{"all: a listing by who is late rather than by who owes", ReadAll, false, true, []answerer{owing(0, 1), late(1, 0)}, "1|0", 2},
		{"prefer: a listing by who is not late", ReadPrefer, false, true, []answerer{{backend: 0, weight: 9, late: true}, fresh(1)}, "1|0", 2},
		{"prefer: the heaviest first", ReadPrefer, false, false, []answerer{weighs(0, 1), weighs(1, 3), weighs(2, 2)}, "1|2 0", 3},
		{"prefer: the bucket's order between equals", ReadPrefer, false, false, []answerer{fresh(1), fresh(0)}, "0|1", 2},
		{"prefer: not who owes", ReadPrefer, false, false, []answerer{weighs(0, 1), {backend: 1, weight: 3, owes: 1}}, "0|", 1},
		{"prefer, allow: who owes last", ReadPrefer, true, false, []answerer{weighs(0, 1), {backend: 1, weight: 3, owes: 1}}, "0|1", 1},
		{"prefer: weight 0 only if there is nobody else", ReadPrefer, false, false, []answerer{weighs(0, 0), weighs(1, 1)}, "1|0", 2},
		{"prefer: weight 0 comes before who owes", ReadPrefer, true, false, []answerer{weighs(0, 0), behind(1)}, "0|1", 1},
		{"prefer: a listing by who owes least", ReadPrefer, false, true, []answerer{{backend: 0, weight: 9, owes: 1}, fresh(1)}, "1|0", 2},
		{"fastest", ReadFastest, false, false, []answerer{takes(0, 30), takes(1, 10), takes(2, 20)}, "1|2 0", 3},
		{"fastest: who was never asked is", ReadFastest, false, false, []answerer{takes(0, 30), takes(1, 0)}, "1|0", 2},
		{"fastest: not who owes", ReadFastest, false, false, []answerer{takes(0, 30), {backend: 1, weight: 1, owes: 1}}, "0|", 1},
		{"nobody", ReadPrefer, false, false, nil, "|", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stale := StaleRefuse
			if tt.allow {
				stale = StaleAllow
			}
			p := readPlan{n: 7, first: 7, fresh: 7}
			route(&p, tt.policy, stale, tt.listing, tt.list)
			words := func(b []uint8) string { return strings.Trim(fmt.Sprint(b), "[]") }
			if got := words(p.order[:p.first]) + "|" + words(p.order[p.first:p.n]); got != tt.want || p.fresh != tt.fresh {
				t.Errorf("order is %s, of which %d owe nothing; want %s, %d", got, p.fresh, tt.want, tt.fresh)
			}
		})
	}
}

// Each one is the first as often as its weight says.
func TestR30SpreadByWeight(t *testing.T) {
	t.Parallel()
	const reads = 100_000
	weights := []int{1, 2, 0, 5}
	first := make([]int, len(weights))
	for i := range uint64(reads) {
		var list []answerer
		for b, w := range weights {
			list = append(list, answerer{backend: b, weight: w, dice: mix(i, fmt.Sprint("backend", b))})
		}
		var p readPlan
		route(&p, ReadSpread, StaleRefuse, false, list)
		first[p.order[0]]++
	}
	for b, w := range weights {
		if want := reads * w / 8; first[b] < want-want/20 || first[b] > want+want/20 {
			t.Errorf("the one of weight %d was first %d times of %d", w, first[b], reads)
		}
	}
}

// R30, R3, R4: what is made of the answers.
func TestR30PickRead(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		all   bool
		fresh int
		votes string // a letter a leg: see below; the digit is its place in time
		want  string
	}{
		{"nobody has answered", false, 2, "? h", "wait"},
		{"an object", false, 2, "y1 h", "answer 0"},
		{"no answer: the next one", false, 2, "f1 h", "next 1"},
		{"5xx: the next one", false, 2, "b1 h", "next 1"},
		{"404: the next one", false, 3, "m1 h h", "next 1"},
		{"404, once", false, 3, "m1 m2 h", "answer 0"},
		{"404 after a failure: one more", false, 3, "f1 m2 h", "next 2"},
		{"404 and who owes: 404", false, 1, "m1 h", "answer 0"},
		{"no answer, then who owes", false, 1, "f1 h", "next 1"},
		{"404 of who owes is none", false, 1, "f1 m2", "none"},
		{"404 of who owes, then the next of them", false, 1, "f1 m2 h", "next 2"},
		{"who owes has something", false, 1, "f1 y2", "answer 1"},
		{"403 is final", false, 2, "n1 h", "answer 0"},
		{"403 while another one is asked", false, 2, "n1 ?", "answer 0"},
		{"404 while another one is asked", false, 2, "m1 ?", "wait"},
		{"404 and a failure: 404", false, 2, "b1 m2", "answer 1"},
		{"404 and then an object", false, 2, "m1 y2", "answer 1"},
		{"two objects: the first", false, 2, "y2 y1", "answer 1"},
		{"only failures with a word", false, 2, "f2 b1", "answer 1"},
		{"only failures", false, 2, "f1 f2", "none"},
		{"all: 403 waits for the others", true, 2, "n1 ?", "wait"},
		{"all: the first refusal (R4)", true, 2, "b1 m2", "answer 0"},
		{"all: the first refusal, whichever (R4)", true, 2, "b2 m1", "answer 1"},
		{"all: who owes is not asked after a 404", true, 1, "m1 h", "answer 0"},
		{"all: who owes is asked after failures", true, 2, "f1 b2 h", "next 2"},
		{"all: who owes is not asked while another one may answer", true, 2, "f1 ? h", "wait"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := readPlan{all: tt.all, fresh: tt.fresh}
			var votes []vote
			for i, word := range strings.Fields(tt.votes) {
				v := vote{Order: int(word[len(word)-1] - '0')}
				switch word[0] {
				case '?':
					v = vote{}
				case 'h':
					v = vote{State: voteHeld}
				case 'y':
					v.State = votePositive
				case 'f':
					v.State = voteFailed
				case 'b':
					v.State, p.class[i] = voteNegative, classBroken
				case 'm':
					v.State, p.class[i] = voteNegative, classMissing
				case 'n':
					v.State, p.class[i] = voteNegative, classFinal
				}
				votes = append(votes, v)
			}
			p.n = len(votes)
			leg, v := pickRead(votes, &p)
			got := map[pick.Verdict]string{pick.Wait: "wait", pick.None: "none"}[v]
			switch v {
			case pick.Answer:
				got = fmt.Sprint("answer ", leg)
			case pick.Next:
				got = fmt.Sprint("next ", leg)
			}
			if got != tt.want {
				t.Errorf("it is %s, want %s", got, tt.want)
			}
		})
	}
}

var readPolicies = []string{ReadAll, ReadPrefer, ReadSpread, ReadFastest}

// readOnce sends a GET or HEAD and reads the answer.
func (r *rig) readOnce(method, path string) *stub.Answer {
	r.t.Helper()
	c := r.dial()
	c.Send(requestFor(method, path))
	a, err := c.ReadAnswerTo(method)
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

// R30: a backend that owes the key answers nothing of it, whoever is faster, slower or out.
func TestR30BehindDoesNotAnswer(t *testing.T) {
	t.Parallel()
	for _, policy := range readPolicies {
		for _, method := range []string{"GET", "HEAD"} {
			for _, tt := range []struct {
				name        string
				fresh, owes stub.Behaviour
				status      int
				size        int64
			}{
				{"it is faster", stub.Behaviour{HangAfterBody: true}, stub.Behaviour{}, 200, 3},
				{"it is slower", stub.Behaviour{}, stub.Behaviour{HangAfterBody: true}, 200, 3},
				{"it has none, and is faster", stub.Behaviour{HangAfterBody: true}, stub.Fails(404), 200, 3},
				{"the key was deleted", stub.Fails(404), stub.Behaviour{}, 404, -1},
				{"the other one gives no answer", stub.Behaviour{Cut: stub.CutReset, CutAt: stub.NoAnswer}, stub.Behaviour{}, 503, -1},
				{"the other one gives no answer, and it has none", stub.Behaviour{Cut: stub.CutReset, CutAt: stub.NoAnswer}, stub.Fails(404), 503, -1},
				{"the other one is broken", stub.Fails(500), stub.Behaviour{}, 500, -1},
			} {
				t.Run(policy+" "+method+" "+tt.name, func(t *testing.T) {
					t.Parallel()
					r := newRig(t, 2, reading(policy))
					r.stores[0].Put("/b/a%20key", []byte("new"))
					r.stores[1].Put("/b/a%20key", []byte("an old one"))
					r.stores[0].Behave(tt.fresh)
					r.stores[1].Behave(tt.owes)
					r.journal.owe("b", "a key", 2)
					answered := make(chan *stub.Answer, 1)
					go func() { answered <- r.readOnce(method, "/b/a%20key") }()
					if tt.fresh.HangAfterBody {
						r.awaitHeld(0)
					} else {
						r.stores[0].Wait(t, func(q stub.Requests) bool { return len(q) > 0 })
					}
					r.stores[0].Unhang()
					a := testkit.Receive(t, "the answer", answered)
					wantStatus(t, a, tt.status)
					if tt.size >= 0 && a.Length != tt.size {
						t.Errorf("Content-Length is %d, want %d", a.Length, tt.size)
					}
					r.settled()
					if n := len(r.stores[1].Requests()); n != 0 {
						t.Errorf("the one that owes the key was asked %d times", n)
					}
				})
			}
		}
	}
}

// R30: where only such ones are left the client is refused, and repair hears of it; or it
// is given the old object by its own will.
func TestR30OnlyBehindIsLeft(t *testing.T) {
	t.Parallel()
	for _, policy := range readPolicies {
		for _, method := range []string{"GET", "HEAD"} {
			for _, allow := range []bool{false, true} {
				for _, there := range []bool{false, true} {
					for _, out := range []string{"demoted", "refuses", "broken"} {
						t.Run(fmt.Sprintf("%s %s allow=%t there=%t %s", policy, method, allow, there, out), func(t *testing.T) {
							t.Parallel()
							var w wanted
							setups := []setup{reading(policy), w.setup}
							if allow {
								setups = append(setups, allowStale)
							}
							r := newRig(t, 2, setups...)
							switch out {
							case "demoted":
								r.limiter.SetMaintained(0, true)
							case "refuses":
								r.stores[0].Down()
							case "broken":
								r.stores[0].Behave(stub.Fails(500))
							}
							if there {
								r.stores[1].Put("/b/k", []byte("old"))
							}
							r.journal.owe("b", "k", 2)
							a := r.readOnce(method, "/b/k")
							r.settled()
							switch stale := a.Headers.Get("X-Akubra-Stale"); {
							case allow && there:
								wantStatus(t, a, 200)
								if stale != "1" || a.Length != 3 {
									t.Errorf("it is marked %q, with %d bytes", stale, a.Length)
								}
							case a.Status != 503 && (out != "broken" || a.Status != 500):
								t.Errorf("it is answered %d", a.Status)
							case stale != "":
								t.Error("a refusal is marked as stale")
							}
							if out == "demoted" && !(allow && there) {
								if got := w.take(); got != "b/k" {
									t.Errorf("repair was told of %q", got)
								}
							}
						})
					}
				}
			}
		}
	}
}

// Another object is not meant, and once repaired it is as any other.
func TestR30OnlyWhatIsOwed(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.stores[0].Down()
	r.stores[1].Put("/b/k", []byte("old"))
	r.stores[1].Put("/b/other", []byte("other"))
	r.journal.owe("b", "k", 2)
	c := r.dial()
	wantStatus(t, c.Do(requestFor("GET", "/b/other")), 200)
	wantStatus(t, c.Do(requestFor("GET", "/b/k")), 503)
	r.journal.forget("b", "k")
	wantStatus(t, r.dial().Do(requestFor("GET", "/b/k")), 200)
}

// R30: an acknowledged write whose leg is out is owed there already.
func TestR30WriteUnderWayIsOwed(t *testing.T) {
	t.Parallel()
	for _, policy := range readPolicies {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2, reading(policy))
			for _, s := range r.stores {
				s.Put("/b/k", []byte("old"))
			}
			r.stores[1].BehaveFunc(func(q *stub.Request) stub.Behaviour {
				return stub.Behaviour{HangAfterBody: q.Method == "PUT"}
			})
			wantStatus(t, r.put("/b/k", "newer"), 200)
			r.stores[1].Wait(t, func(q stub.Requests) bool { return q.Held() == 1 })
			for range 20 {
				if a := r.readOnce("GET", "/b/k"); string(a.Body) != "newer" {
					t.Fatalf("it is %q", a.Body)
				}
			}
			r.stores[1].Unhang()
			r.settled()
		})
	}
}

// settlesLate is a Journal that settles a write a moment after it has ended: until then all owe the key.
type settlesLate struct {
	Journal
	looks atomic.Int32 // that still find it so
}

func (j *settlesLate) Quiet() bool { return j.looks.Load() <= 0 && j.Journal.Quiet() }

func (j *settlesLate) Owed(bucket, key []byte) uint64 {
	if j.looks.Add(-1) >= 0 {
		return 3
	}
	return j.Journal.Owed(bucket, key)
}

// R30: a read right behind a write is not refused because the journal has not settled the write yet.
func TestR30ReadWhileAWriteIsSettled(t *testing.T) {
	t.Parallel()
	for _, policy := range readPolicies {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			j := new(settlesLate)
			r := newRig(t, 2, reading(policy), func(o *Options, _ *limiter.Options) {
				j.Journal, o.Journal, o.briefWait = o.Journal, j, settlingShare*patience
			})
			for _, s := range r.stores {
				s.Put("/b/k", []byte("new"))
			}
			j.looks.Store(3)
			if a := r.readOnce("GET", "/b/k"); a.Status != 200 || string(a.Body) != "new" {
				t.Errorf("it is answered %d: %q", a.Status, a.Body)
			}
		})
	}
}

// R30: two writes to one key, each taken first by another backend, leave it readable while a third
// one hangs: both of these have both writes.
func TestR30WrittenTwiceWhileOneHangs(t *testing.T) {
	t.Parallel()
	for _, policy := range readPolicies {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 3, reading(policy))
			late := [3]chan struct{}{make(chan struct{}), make(chan struct{})} // the one that is not the first to take a write
			for i, s := range r.stores {
				var puts atomic.Int32
				s.BehaveFunc(func(q *stub.Request) stub.Behaviour {
					switch {
					case q.Method != "PUT":
						return stub.Behaviour{}
					case i == 2:
						return stub.Behaviour{HangAfterBody: true}
					case puts.Add(1) == int32(2-i): // the newer one at the first, the older one at the second
						return stub.Behaviour{Gate: late[i]}
					}
					return stub.Behaviour{}
				})
			}
			wantStatus(t, r.put("/b/k", "older"), 200)
			close(late[1])
			wantStatus(t, r.put("/b/k", "newer"), 200)
			close(late[0])
			testkit.Eventually(t, "it can be read", func() bool {
				a := r.readOnce("GET", "/b/k")
				if a.Status == 200 && string(a.Body) != "newer" {
					t.Fatalf("it is %q", a.Body)
				}
				return a.Status == 200
			})
			r.stores[2].Wait(t, func(q stub.Requests) bool { return q.Held() == 1 })
			r.stores[2].Behave(stub.Behaviour{}) // for the second one, which begins there after the first
			r.stores[2].Unhang()
			r.settled()
		})
	}
}

// R30: a listing comes from who owes nothing in the bucket, else from who owes least.
func TestR30ListingByWhoOwesLeast(t *testing.T) {
	t.Parallel()
	for _, policy := range readPolicies {
		for _, tt := range []struct {
			name string
			owed []uint64 // a key each
			down int
			want int
		}{
			{"nothing", []uint64{0b011, 0b001}, -1, 2},
			{"the least", []uint64{0b111, 0b001, 0b101}, -1, 1},
			{"the least that answers", []uint64{0b011, 0b001}, 2, 1},
		} {
			t.Run(policy+" "+tt.name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, 3, reading(policy))
				for i, s := range r.stores {
					s.Behave(stub.Behaviour{Status: 200, Body: fmt.Appendf(nil, "<Name>%d</Name>", i)})
				}
				if tt.down >= 0 {
					r.stores[tt.down].Down()
				}
				for i, owed := range tt.owed {
					r.journal.owe("b", fmt.Sprint("k", i), owed)
				}
				for range 5 {
					a := r.readOnce("GET", "/b?list-type=2")
					wantStatus(t, a, 200)
					if want := fmt.Sprintf("<Name>%d</Name>", tt.want); string(a.Body) != want {
						t.Fatalf("it comes from %s, want %s", a.Body, want)
					}
				}
			})
		}
	}
}
