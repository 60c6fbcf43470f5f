package health

import (
	"fmt"
	"slices"
)

// Well records a response that is not an error of the backend's. A write was taken.
func (h *Health) Well(backend int, write bool) {
	b := &h.backends[backend]
	if !b.watched.Load() {
		return
	}
	now := h.o.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answered, b.good[classOf(write)], b.denied[classOf(write)] = now, now, 0
	b.silent, b.refuses = false, b.refuses && !write
	if write {
		b.took, b.alone = now, 0
	}
}

// declined records the refusal of a write that may be the client's fault.
func (h *Health) declined(backend, status int, code string) {
	b, now := &h.backends[backend], h.o.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answered, b.good[writes], b.denied[writes] = now, now, 0
	b.silent, b.refuses = false, false
	b.refusal.status, b.refusal.code = status, code
}

// Answered records a response that may be an error of the backend's: one to a write that is not
// positive, or one to a read that no client may be to blame for. code is S3's code from an error
// document, or "".
func (h *Health) Answered(backend int, write bool, status int, code string) {
	cause, wrong := ofAnswer(status, code)
	switch {
	case wrong:
	case write:
		h.declined(backend, status, code)
		return
	default:
		h.Well(backend, write)
		return
	}
	b, c := &h.backends[backend], classOf(write)
	b.mu.Lock()
	b.answered, b.silent = h.o.Now(), false
	b.refusal.status, b.refusal.code = status, code
	if cause == Denied {
		b.denied[c]++
		if b.denied[c] < []int{deniedReads, deniedWrites}[c] {
			b.watched.Store(true)
			b.mu.Unlock()
			return
		}
	}
	h.failUnlock(backend, cause, c, meaningOfAnswer(cause, status, code), answerText(status, code))
}

func answerText(status int, code string) string {
	if code == "" {
		return fmt.Sprintf("answered %d", status)
	}
	return fmt.Sprintf("answered %d: %s", status, code)
}

// RefusedAlone records that the backend has refused what another backend accepted: the client is not
// at fault. Its answer was told before, with its code.
func (h *Health) RefusedAlone(name string, write bool, status int) {
	i := slices.Index(h.o.Names, name)
	if i < 0 {
		return
	}
	b := &h.backends[i]
	b.mu.Lock()
	code := ""
	if b.refusal.status == status {
		code = b.refusal.code
	}
	cause, its := ofRefusal(status, code)
	if told, wrong := ofAnswer(status, code); wrong && told != cause {
		its = false
	}
	if its && cause == Refuses && status >= 400 && code != noSuchBucket && code != wrongRegion {
		b.alone++
		b.watched.Store(true)
		its = b.alone >= refusedAlone
	}
	if !its {
		b.mu.Unlock()
		return
	}
	h.failUnlock(i, cause, classOf(write), meaningOfAnswer(cause, status, code), answerText(status, code)+" to what another backend took")
}
