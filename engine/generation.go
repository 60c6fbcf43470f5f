package engine

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
)

// generation is one configuration as requests see it (R22). It never changes: Reconfigure replaces
// it. A request keeps the one that it began with (request.o), so no limit, header or policy
// changes in the middle of it; what belongs to a connection or to the listener reads the current
// one each time.
//
// Its Options are those of New, except for what Reconfigure was given. What cannot change is read
// from Engine.o: TestR22GenerationIsTheOnlySource keeps the two apart.
type generation struct {
	Options
	ringSize    int
	addRequest  headers
	addResponse headers
	cors        bool // addResponse makes an answer to a preflight request
	primaries   *primaries
	logsAccess  bool // Log.AccessEnabled, asked once
}

// maxAdditional bounds the configured headers per direction: which of them a request has itself is
// kept in a 64-bit set.
const maxAdditional = 64

// newGeneration checks the options. Its errors name the wrong option.
func newGeneration(o Options) (*generation, error) {
	if len(o.AdditionalRequestHeaders) > maxAdditional || len(o.AdditionalResponseHeaders) > maxAdditional {
		return nil, fmt.Errorf("cannot add more than %d headers", maxAdditional)
	}
	switch o.WriteAck {
	case AckFirst, AckQuorum, AckAll:
	default:
		return nil, fmt.Errorf("cannot use WriteAck %q: it is none of %s, %s, %s", o.WriteAck, AckFirst, AckQuorum, AckAll)
	}
	if err := o.checkReads(); err != nil {
		return nil, err
	}
	names := make([]string, len(o.Backends))
	for i, b := range o.Backends {
		names[i] = b.Name()
	}
	order, err := newPrimaries(names, o.ReadFrom, o.Primary)
	if err != nil {
		return nil, err
	}
	g := &generation{
		Options:     o,
		ringSize:    1 << bits.Len(uint(max(o.RingSize, 4096)-1)),
		addRequest:  sortedHeaders(o.AdditionalRequestHeaders),
		addResponse: sortedHeaders(o.AdditionalResponseHeaders),
		primaries:   order,
		logsAccess:  o.Log != nil && o.Log.AccessEnabled(),
	}
	for _, h := range g.addResponse {
		g.cors = g.cors || strings.HasPrefix(strings.ToLower(h.name), "access-control-")
	}
	return g, nil
}

func sortedHeaders(m map[string]string) headers {
	var list headers
	for name, value := range m {
		list = append(list, header{name, value})
	}
	slices.SortFunc(list, func(a, b header) int { return strings.Compare(a.name, b.name) })
	return list
}

// current is the generation for requests that begin now.
func (e *Engine) current() *generation { return e.generation.Load() }

// Check returns the error that Reconfigure would return.
func (e *Engine) Check(o Options) error {
	_, err := newGeneration(o.withFixedOf(&e.o))
	return err
}

// Reconfigure makes o the options of requests that begin from now on; those in flight keep theirs
// (R22). It takes only what can change while the engine runs: the rest stays as New was given it,
// and may be left out of o. After an error nothing has changed. Any goroutine may call it.
func (e *Engine) Reconfigure(o Options) error {
	next, err := newGeneration(o.withFixedOf(&e.o))
	if err != nil {
		return err
	}
	e.generation.Store(next)
	door := e.door()
	if door != nil {
		door.shrink()
	}
	return nil
}

// withFixedOf returns o with what cannot change taken from old.
func (o Options) withFixedOf(old *Options) Options {
	o.Backends, o.Limiter, o.Synclog, o.Log, o.Metrics = old.Backends, old.Limiter, old.Synclog, old.Log, old.Metrics
	o.Journal, o.Health, o.Wanted, o.OwedPart, o.Removing = old.Journal, old.Health, old.Wanted, old.OwedPart, old.Removing
	o.FindVersion = old.FindVersion
	o.TLS, o.MaxHeaderSize = old.TLS, old.MaxHeaderSize
	o.firstTimeout, o.headGrace, o.silentGrace, o.paceTime = old.firstTimeout, old.headGrace, old.silentGrace, old.paceTime
	o.answerPulse, o.drainGrace, o.continueWait, o.briefWait = old.answerPulse, old.drainGrace, old.continueWait, old.briefWait
	return o
}
