package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/akubra/akubra/internal/text"
)

// ConcurrencyAuto: repair finds out how many objects at a time each backend can take.
const ConcurrencyAuto = "auto"

// Objects is how many objects are repaired at a time; 0 is auto.
func (c RepairConfig) Objects() int {
	n, _ := strconv.Atoi(c.Concurrency) // checked
	return n
}

// Rates are bytes per second, by backend. A single rate that applies to each backend may be
// written without the map.
type Rates map[string]text.ByteSize

// allOthers is the key of the backends that Rates does not name.
const allOthers = "default"

// ratesOf lists what Rates may be written as besides a map: a single size.
func ratesOf(value any) (Rates, bool) {
	n, ok := text.ByteSize(0), false
	switch v := value.(type) {
	case int:
		n, ok = text.ByteSize(v), true
	case string:
		n, ok = text.ParseSize(v)
		ok = ok && isDecimal(v)
	}
	if n == 0 {
		return nil, ok // no limit, as by default
	}
	return Rates{allOthers: n}, ok
}

// BytesPerSecond returns Repair.BytesPerSecond by backend; 0 means no limit.
func (c *Config) BytesPerSecond() []int64 {
	rates := make([]int64, len(c.Backends))
	for i, backend := range c.Backends {
		rates[i] = int64(c.Repair.BytesPerSecond[allOthers])
		for of, rate := range c.Repair.BytesPerSecond {
			if of != allOthers && sameBackend(backend, of) {
				rates[i] = int64(rate)
			}
		}
	}
	return rates
}

func (m *mistakes) checkConcurrency(s string) {
	if n, err := strconv.Atoi(s); s != ConcurrencyAuto && (err != nil || n < 1 || n > maxConcurrency || !isDecimal(s)) {
		var value any = s
		if isNumber(s) {
			value = n
		}
		m.add("Repair.Concurrency", value, "%s", decimally(value, fmt.Sprintf("from 1 to %d, or auto", maxConcurrency)))
	}
}

func (m *mistakes) checkRates(path string, rates Rates, backends []string) {
	var seen []string
	for _, of := range slices.Sorted(maps.Keys(rates)) {
		at := path + "[" + of + "]"
		if len(rates) == 1 && of == allOthers {
			at = path // it may have been written without a map
		}
		same := func(b string) bool { return sameBackend(b, of) }
		switch {
		case rates[of] < 0:
			m.add(at, rates[of], "at least 0 (0 is no limit)")
		case of == allOthers:
		case len(backends) > 0 && !slices.ContainsFunc(backends, same):
			m.add(at, rates[of], "the rate of one of Backends, or of the default")
		case slices.ContainsFunc(seen, same):
			m.add(at, rates[of], "the rate of another backend: this one has one already")
		}
		if of != allOthers {
			seen = append(seen, of)
		}
	}
}
