package testkit

import (
	"strings"
	"sync"
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

// Transcript records what is written to it; any goroutine can wait for it.
type Transcript struct {
	mu    sync.Mutex
	grown sync.Cond
	text  strings.Builder
}

// NewTranscript makes an empty Transcript.
func NewTranscript() *Transcript {
	w := &Transcript{}
	w.grown.L = &w.mu
	return w
}

func (w *Transcript) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.grown.Broadcast()
	return w.text.Write(p)
}

func (w *Transcript) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// WaitFor returns once text has been written; the test's own timeout bounds it.
func (w *Transcript) WaitFor(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !strings.Contains(w.text.String(), text) {
		w.grown.Wait()
	}
}
