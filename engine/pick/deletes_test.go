package pick

import "testing"

func TestR28Named(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		votes  []Vote
		says   []Say
		all    Say
		givers uint64
		over   bool
		leg    int
		want   Verdict
	}{
		{"nobody has answered", []Vote{{pend, 0}, {pend, 0}}, []Say{0, 0}, 2, 0, false, 0, Wait},
		{"a yes awaits the others", []Vote{{pend, 0}, {yes, 1}}, []Say{0, 1}, 2, 0, false, 1, Primary},
		{"in vain", []Vote{{pend, 0}, {yes, 1}}, []Say{0, 1}, 2, 0, true, 1, Answer},
		{"all Say yes", []Vote{{yes, 2}, {yes, 1}}, []Say{1, 1}, 2, 0, false, 1, Answer},
		{"it is locked", []Vote{{no, 2}, {yes, 1}}, []Say{2, 1}, 2, 0, false, 0, Answer},
		{"it is locked, and one is out", []Vote{{no, 2}, {yes, 1}, {pend, 0}}, []Say{2, 1, 0}, 2, 0, false, 0, Answer},
		{"the refusal is first", []Vote{{no, 1}, {yes, 2}}, []Say{2, 1}, 2, 0, false, 0, Answer},
		{"another refusal", []Vote{{no, 2}, {yes, 1}}, []Say{0, 1}, 2, 0, false, 1, Answer},
		{"no such version, and locked", []Vote{{no, 1}, {no, 2}}, []Say{0, 2}, 2, 0, false, 1, Answer},
		{"no such version", []Vote{{no, 2}, {no, 1}}, []Say{0, 0}, 2, 0, false, 1, Answer},
		{"it fails", []Vote{{fail, 2}, {yes, 1}}, []Say{0, 1}, 2, 0, false, 1, Answer},
		{"of a list, who knows most", []Vote{{yes, 2}, {yes, 1}}, []Say{3, 2}, 4, 0, false, 0, Answer},
		{"of a list, who gave all of it", []Vote{{yes, 1}, {pend, 0}}, []Say{4, 0}, 4, 1, false, 0, Answer},
		{"of a list, who gave it is out", []Vote{{pend, 0}, {yes, 1}}, []Say{0, 0}, 4, 1, true, 0, Wait},
		{"of a list, who gave it fails", []Vote{{fail, 2}, {yes, 1}}, []Say{0, 0}, 4, 1, true, 1, Answer},
		{"a list that one refuses", []Vote{{no, 2}, {yes, 1}}, []Say{0, 0}, 4, 0, false, 1, Answer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			leg, v := Leg(tt.votes, 1, true)
			leg, v = Named(tt.votes, leg, v, tt.says, tt.all, tt.givers, tt.over)
			if v != tt.want || v == Answer && leg != tt.leg {
				t.Errorf("leg %d, Verdict %d; want leg %d, Verdict %d", leg, v, tt.leg, tt.want)
			}
		})
	}
}

// R24: what Deleted makes of the votes.
func TestR24Deleted(t *testing.T) {
	t.Parallel()
	p1, p2, p3, out, no := Vote{Positive, 1}, Vote{Positive, 2}, Vote{Positive, 3}, Vote{}, Vote{Negative, 2}
	for _, tt := range []struct {
		votes   []Vote
		leg     int
		v       Verdict
		refused []uint16
		want    int
		Verdict Verdict
	}{
		{[]Vote{p1, out}, 0, Answer, []uint16{0, 0}, 0, Answer},
		{[]Vote{p1, out}, 0, Answer, []uint16{1, 0}, 0, Wait},
		{[]Vote{p1, p2}, 0, Answer, []uint16{1, 0}, 1, Answer},
		{[]Vote{p1, p2, out}, 0, Answer, []uint16{1, 0, 0}, 1, Answer},
		{[]Vote{p1, p3, p2}, 0, Answer, []uint16{2, 1, 1}, 2, Answer},
		{[]Vote{p1, no}, 0, Answer, []uint16{1, 0}, 0, Answer},
		{[]Vote{no, out}, 0, Answer, []uint16{0, 0}, 0, Answer},
		{[]Vote{p1, out}, 0, Wait, []uint16{1, 0}, 0, Wait},
	} {
		if leg, v := Deleted(tt.votes, tt.leg, tt.v, tt.refused); leg != tt.want || v != tt.Verdict {
			t.Errorf("%+v: %d, %d", tt, leg, v)
		}
	}
}
