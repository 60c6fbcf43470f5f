package testkit

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// Gate fails until it is opened; if err is nil it waits instead.
type Gate struct {
	Text *Transcript

	mu   sync.Mutex
	Err  error
	Wait chan struct{}
}

// Open lets all later writes through.
func (g *Gate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.Wait != nil {
		close(g.Wait)
	}
	g.Err = nil
}

// Write waits or fails until the gate is open.
func (g *Gate) Write(p []byte) (int, error) {
	g.mu.Lock()
	wait, err := g.Wait, g.Err
	g.mu.Unlock()
	if wait != nil {
		<-wait
	}
	if err != nil {
		return 0, err
	}
	return g.Text.Write(p)
}

// Transcript records what is written to it, by any goroutine.
type Transcript struct {
	mu   sync.Mutex
	text strings.Builder
}

// NewTranscript makes an empty Transcript.
func NewTranscript() *Transcript { return &Transcript{} }

func (w *Transcript) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *Transcript) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// WaitFor returns once text has been written. It must be called on the test's own goroutine.
func (w *Transcript) WaitFor(t testing.TB, text string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("written until now: %s", w)
		}
	}()
	Eventually(t, fmt.Sprintf("%q is written", text), func() bool { return strings.Contains(w.String(), text) })
}
