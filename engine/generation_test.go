package engine

import (
	"go/ast"
	"strings"
	"testing"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
)

// TestR22RequestKeepsItsGeneration: what Reconfigure is given counts for requests that begin
// from then on; one that is under way ends as it has begun. What is wrong changes nothing.
func TestR22RequestKeepsItsGeneration(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, func(o *Options, _ *limiter.Options) {
		o.AdditionalResponseHeaders = map[string]string{"X-Generation": "first"}
		o.AdditionalRequestHeaders = map[string]string{"X-Asked-In": "first"}
	})
	first := r.e.current()
	gate := make(chan struct{})
	for _, s := range r.stores {
		s.Behave(stub.Behaviour{Gate: gate})
	}
	underWay := r.dial()
	underWay.Send(putRequest("/b/k", "body"))
	for _, s := range r.stores {
		s.Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
	}

	wrong := first.Options
	wrong.WriteAck, wrong.MaxBodySize = "some", 1
	if err := r.e.Reconfigure(wrong); err == nil || !strings.Contains(err.Error(), "some") {
		t.Fatalf("a wrong WriteAck: %v", err)
	}
	if r.e.current() != first {
		t.Fatal("a configuration with a mistake has replaced the one that works")
	}

	next := first.Options
	next.AdditionalResponseHeaders = map[string]string{"X-Generation": "second"}
	next.AdditionalRequestHeaders = map[string]string{"X-Asked-In": "second"}
	next.MaxBodySize = 4
	next.MaxHeaderSize, next.Limiter, next.Backends = 1, nil, nil // cannot change
	testkit.MustDo(t, r.e.Reconfigure(next))
	wantStatus(t, r.dial().Do(putRequest("/b/other", "longer")), errEntityTooLarge.status)
	close(gate)
	for _, s := range r.stores {
		s.Behave(stub.Behaviour{})
	}
	a, err := underWay.ReadAnswer()
	if err != nil || a.Status != 200 || a.Headers.Get("X-Generation") != "first" {
		t.Errorf("the request that was under way: %+v, %v", a, err)
	}
	a = underWay.Do(putRequest("/b/k", "next"))
	if a.Status != 200 || a.Headers.Get("X-Generation") != "second" {
		t.Errorf("the next one on its connection: %+v", a)
	}
	for _, s := range r.stores {
		var asked []string
		s.Wait(t, func(rs stub.Requests) bool {
			asked = asked[:0]
			for _, request := range rs {
				asked = append(asked, request.Headers.Get("X-Asked-In"))
			}
			return len(asked) == 2
		})
		if strings.Join(asked, " ") != "first second" {
			t.Errorf("a backend was asked in %q", asked)
		}
	}
}

// TestR22GenerationChangesEachLimit: limits of the door and of requests count at once, also for
// connections that are open.
func TestR22GenerationChangesEachLimit(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	var open []*stub.Client
	for range 5 {
		c := r.dial()
		wantStatus(t, c.Do(requestFor("GET", "/")), 200)
		open = append(open, c)
	}
	o := r.e.current().Options
	o.MaxConnections = 2
	until(t, "idle connections past the new bound to be evicted", func() bool {
		testkit.MustDo(t, r.e.Reconfigure(o)) // again: idle is who was so for a moment
		return r.e.Clients().Open == 2
	})
	if s := r.e.Clients(); s.Bound != 2 || s.Cut["idle"] != 3 {
		t.Errorf("%+v", s)
	}
	o.MaxConnections, o.MaxConcurrentRequests = 100, 0
	testkit.MustDo(t, r.e.Reconfigure(o))
	for range 5 {
		wantS3Error(t, r.dial().Do(requestFor("GET", "/")), 503, "SlowDown")
	}
	o.MaxConcurrentRequests = 1
	testkit.MustDo(t, r.e.Reconfigure(o))
	wantStatus(t, r.dial().Do(requestFor("GET", "/")), 200)
	_ = open
}

// TestR22GenerationIsTheOnlySource: what can change is read off a generation, never off the
// options that New was given.
func TestR22GenerationIsTheOnlySource(t *testing.T) {
	t.Parallel()
	files := mustParse(t)
	fixed := map[string]bool{}
	ast.Inspect(files["generation.go"], func(n ast.Node) bool {
		f, ok := n.(*ast.FuncDecl)
		if !ok || f.Name.Name != "withFixedOf" {
			return true
		}
		ast.Inspect(f.Body, func(n ast.Node) bool {
			if a, ok := n.(*ast.AssignStmt); ok {
				for _, left := range a.Lhs {
					if s, ok := left.(*ast.SelectorExpr); ok {
						fixed[s.Sel.Name] = true
					}
				}
			}
			return true
		})
		return false
	})
	options := structFields(files, "Options")
	if len(fixed) < 10 || len(options) < 30 || !fixed["Backends"] {
		t.Fatalf("%d of %d options are fixed: this test looks at the wrong ones", len(fixed), len(options))
	}
	reads := 0
	for path, file := range files {
		if path == "engine.go" { // New fills them in
			continue
		}
		ast.Inspect(file, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok || !options[s.Sel.Name] || !isEngineOptions(s.X) {
				return true
			}
			reads++
			if !fixed[s.Sel.Name] {
				t.Errorf("%s reads %s as it was at the start: it can change, and request.o or Engine.current has it", path, s.Sel.Name)
			}
			return true
		})
	}
	if reads < 30 {
		t.Fatalf("%d options are read: this test looks for the wrong ones", reads)
	}
}

// isEngineOptions reports whether x is the o of an Engine, which is called e everywhere.
func isEngineOptions(x ast.Expr) bool {
	s, ok := x.(*ast.SelectorExpr)
	if !ok || s.Sel.Name != "o" {
		return false
	}
	switch e := s.X.(type) {
	case *ast.Ident:
		return e.Name == "e"
	case *ast.SelectorExpr:
		return e.Sel.Name == "e"
	}
	return false
}
