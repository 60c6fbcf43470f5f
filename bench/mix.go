package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// defaultMix is the production mix.
const defaultMix = "put=80,get=15,delete=5"

// mix is the share of each operation.
type mix struct {
	shares [len(operations)]int
	sum    int
}

// parseMix reads put=80,get=15,delete=5.
func parseMix(s string) (mix, error) {
	var m mix
	for part := range strings.SplitSeq(s, ",") {
		name, share, _ := strings.Cut(strings.TrimSpace(part), "=")
		i := slices.Index(operations[:], strings.ToUpper(name))
		n, err := strconv.Atoi(share)
		if i < 0 || err != nil || n < 0 || n > 1e6 {
			return mix{}, fmt.Errorf("cannot use -mix %q: want shares of %s, as in %s", s, strings.ToLower(strings.Join(operations[:], ", ")), defaultMix)
		}
		m.shares[i] = n
	}
	for _, n := range m.shares {
		m.sum += n
	}
	if m.sum == 0 {
		return mix{}, fmt.Errorf("cannot use -mix %q: nothing has a share", s)
	}
	return m, nil
}

// String is "" for the production mix, so that its cases keep their name.
func (m *mix) String() string {
	var parts []string
	for i, n := range m.shares {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%s=%d", strings.ToLower(operations[i]), n))
		}
	}
	if text := strings.Join(parts, ","); text != defaultMix {
		return text
	}
	return ""
}

// mixOf is a case's mix, which parseOptions has parsed before.
func mixOf(c *Case) *mix {
	text := c.Mix
	if text == "" {
		text = defaultMix
	}
	m, _ := parseMix(text)
	return &m
}

// pick returns the next operation and the size of its object.
func (m *mix) pick(r *rand.Rand) (op string, size int64) {
	size = mixSizes[r.IntN(len(mixSizes))]
	p := r.IntN(m.sum)
	for i, n := range m.shares {
		if p < n {
			op = operations[i]
			break
		}
		p -= n
	}
	if op == "DELETE" || op == "LIST" {
		size = 0
	}
	return op, size
}
