package limiter

import (
	"slices"
	"testing"
)

// model is the limiter in its simplest form: a list of busy connections.
type model struct {
	n, limit, failureLimit int
	conns                  []*modelConn
	demoted, maintained    uint64
	failures, demotions    []int
}

type modelConn struct {
	slotID
	progress, answered int64 // answered < 0: not answered yet
}

func (m *model) pool() uint64 { return (1<<m.n - 1) &^ m.demoted &^ m.maintained }

func (m *model) busy(set uint64) (n int) {
	for _, c := range m.conns {
		if set>>c.backend&1 != 0 {
			n++
		}
	}
	return n
}

func (m *model) stalled(backend int, now int64) (n int) {
	for _, c := range m.conns {
		if c.backend == backend && (now-c.progress >= stalled || c.answered >= 0 && now-c.answered >= stalled) {
			n++
		}
	}
	return n
}

func (m *model) size(set uint64) (n int) {
	for i := range m.n {
		n += int(set >> i & 1)
	}
	return n
}

func (m *model) demote(backend int) {
	if m.pool()>>backend&1 != 0 && m.size(m.pool()) > 1 {
		m.demoted |= 1 << backend
		m.demotions[backend]++
	}
}

// begin is TryBegin in the model, demotions included.
func (m *model) begin(now int64, want uint64) (got uint64, ok bool) {
	fits := func() bool {
		got = want & m.pool()
		return got == 0 || m.busy(m.pool())+m.size(got) <= m.limit
	}
	if fits() {
		return got, true
	}
	worst, worstStalled, worstBusy := -1, 0, 0
	for i := range m.n {
		s, b := m.stalled(i, now), m.busy(1<<i)
		if m.pool()>>i&1 != 0 && s > 0 && s*stalledShare >= b && (s > worstStalled || s == worstStalled && b > worstBusy) {
			worst, worstStalled, worstBusy = i, s, b
		}
	}
	if worst >= 0 {
		m.demote(worst)
	}
	if fits() {
		return got, true
	}
	return 0, false
}

// FuzzOperations runs a sequence of operations, two bytes each, against the model. The clock
// advances by at least scanEvery each time, so that each refusal scans.
func FuzzOperations(f *testing.F) {
	f.Add([]byte{2, 4, 2})
	f.Add([]byte{2, 2, 0, 0, 3, 0, 3, 0, 3, 7, 255, 7, 255, 0, 1, 0, 2, 3, 0, 6, 0, 0, 3})
	f.Add([]byte{3, 5, 2, 0, 7, 7, 99, 0, 7, 1, 0, 2, 1, 7, 255, 0, 7, 4, 0, 4, 0, 4, 1, 4, 1, 6, 0, 8, 1, 8, 129})
	f.Add([]byte{1, 0, 0, 0, 1, 0, 1, 3, 0, 0, 1, 8, 0, 8, 128})
	f.Fuzz(func(t *testing.T, ops []byte) {
		if len(ops) < 3 || len(ops) > 600 {
			return
		}
		n := int(ops[0]%5) + 1
		m := &model{
			n: n, limit: max(int(ops[1]%16), n), failureLimit: int(ops[2] % 4),
			failures: make([]int, n), demotions: make([]int, n),
		}
		r := newRig(t, n, Options{ConnLimit: int(ops[1] % 16), FailureLimit: m.failureLimit})
		returns, now := 0, int64(0)
		for k := 3; k+1 < len(ops); k += 2 {
			now += scanEvery
			arg := int(ops[k+1])
			i := arg % n
			var c *modelConn
			if len(m.conns) > 0 {
				c = m.conns[arg%len(m.conns)]
			}
			switch op := ops[k] % 9; op {
			case 0:
				var slots [64]int32
				got, ok := r.TryBegin(now, uint64(arg), &slots)
				wantGot, wantOK := m.begin(now, uint64(arg))
				if got != wantGot || ok != wantOK {
					t.Fatalf("op %d: TryBegin(%b) = %b, %v, want %b, %v", k, arg, got, ok, wantGot, wantOK)
				}
				for _, s := range slotsOf(got, &slots) {
					m.conns = append(m.conns, &modelConn{s, now, -1})
				}
			case 1, 2, 3:
				if c == nil {
					continue
				}
				switch op {
				case 1:
					r.Progress(c.backend, c.slot, now)
					c.progress = now
				case 2:
					r.Answered(c.backend, c.slot, now)
					if c.answered < 0 {
						c.answered = now
					}
				case 3:
					r.End(c.backend, c.slot)
					m.conns = slices.DeleteFunc(m.conns, func(x *modelConn) bool { return x == c })
				}
			case 4:
				r.Failed(i, now)
				if m.failures[i]++; m.failureLimit > 0 && m.failures[i] >= m.failureLimit {
					m.demote(i)
				}
			case 5:
				r.Succeeded(i)
				m.failures[i] = 0
			case 6:
				may := m.demoted&^m.maintained>>i&1 != 0 && float64(m.busy(1<<i)) < float64(m.limit)/float64(n)/2
				if got := r.Returnable(i); got != may {
					t.Fatalf("op %d: Returnable(%d) = %v", k, i, got)
				}
				won := m.demoted>>i&1 != 0
				if got := r.Return(i); got != won {
					t.Fatalf("op %d: Return(%d) = %v", k, i, got)
				}
				if won {
					returns++
					m.demoted &^= 1 << i
					m.failures[i] = 0
				}
			case 7:
				now += int64(arg) * ms
			case 8:
				on := arg >= 128
				if got := r.SetMaintained(i, on); got != (on != (m.maintained>>i&1 != 0)) {
					t.Fatalf("op %d: SetMaintained(%d, %v) = %v", k, i, on, got)
				}
				m.maintained &^= 1 << i
				if on {
					m.maintained |= 1 << i
				}
			}

			demotions := 0
			for i, s := range r.Status(now) {
				demotions += m.demotions[i]
				if (s.Waiting > 0) != (s.Stalled > 0) {
					t.Fatalf("op %d: %d stalled ones have waited for %v s", k, s.Stalled, s.Waiting)
				}
				want := Status{
					Name: s.Name, Waiting: s.Waiting, State: r.State(i), Reason: s.Reason, Since: s.Since,
					Demoted: m.demoted>>i&1 != 0, Maintained: m.maintained>>i&1 != 0,
					Busy: m.busy(1 << i), Stalled: m.stalled(i, now),
					Failures: m.failures[i], Demotions: uint64(m.demotions[i]), Limit: r.Limit(), // no lag is noted here
				}
				if s != want {
					t.Fatalf("op %d: status %+v, want %+v", k, s, want)
				}
			}
			if r.Pool() != m.pool() || len(r.demotions) != demotions || len(r.returns) != returns {
				t.Fatalf("op %d: pool %b, want %b; %d demotions told, want %d; %d returns, want %d",
					k, r.Pool(), m.pool(), len(r.demotions), demotions, len(r.returns), returns)
			}
			check(t, r.Limiter)
		}
	})
}
